//! Video.
pub mod avi;
pub mod checkpoint;
pub mod disk;
pub mod segment_log;
pub mod timing;
