//! What the command lines of all programs have in common.

pub mod log;
pub mod screen;
pub mod signals;
