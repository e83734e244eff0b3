//! What every worker program is, whatever its resources do.
//!
//! - [`work`] is what a kind of resource is to all else here: nothing else knows one kind from another. [`run`] starts what is
//!   wanted and keeps it running; [`table`] shows it on a terminal, [`serve`] tells the world, [`metrics`] counts, [`metrics_files`]
//!   writes figures for spreadsheets.
//! - [`state`] is how a resource fares, [`fault`] why it stopped working, [`plain`] how errors are put into words.
//! - [`secrets`] are read anew at each start. [`backoff`] and [`throttle`] keep trouble from flooding anyone.
//! - [`sibling`] runs what another program does, as if it were done here.
//! - [`cli`] is what command lines have in common, [`command`] the command `run` of every program.

pub mod backoff;
pub mod cli;
pub mod clock;
pub mod command;
pub mod fault;
pub mod metrics;
pub mod metrics_files;
pub mod plain;
pub mod run;
pub mod secrets;
pub mod serve;
pub mod sibling;
pub mod state;
pub mod table;
#[cfg(test)]
mod testing;
pub mod throttle;
pub mod work;
