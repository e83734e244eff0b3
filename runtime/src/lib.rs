//! What every worker program is, whatever its resources do.
//!
//! - [`state`] is how a resource fares, [`fault`] why it stopped working, [`plain`] how errors are put into words.
//! - [`secrets`] are read anew at each start. [`backoff`] and [`throttle`] keep trouble from flooding anyone.

pub mod backoff;
pub mod fault;
pub mod plain;
pub mod secrets;
pub mod state;
pub mod throttle;
