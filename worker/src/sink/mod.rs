//! Where frames go.
//!
//! - [`output`] is the contract: take frames, flush, say what is durable. Outputs know nothing of Kafka.
//! - [`jpeg_files`], [`video`] and [`dataset`] are the outputs; [`picture_files`] writes pictures, [`file_name`] makes names and
//!   [`record_name`] reads them back, [`fault`] says what a disk refused.
//! - [`disk`] is where all their writing goes through, so that tests can make any of it fail.
//! - [`private_dir`] is a sink's own folder beside its output, with the lock that keeps a second process out.
//! - [`volume`] says where the output's volume is, [`sharing`] keeps sinks of one directory out of each other's files.
//! - [`retention`] makes room: it deletes the oldest of what was stored; [`walk`] lists what lies in a directory.
//! - [`archive`] uploads what is closed to an object store.
//! - [`merge`] puts the frames of several partitions in the order of their capture.
//! - [`runner`] reads from [`edgereel_kafka::consumer`], writes to an output, and commits what is durable.
//! - [`lag`] asks how far the sink is behind while the runner cannot tell.
//! - [`dead_letter`] sends on what is not a frame.

pub mod archive;
pub mod dataset;
pub mod dead_letter;
pub mod disk;
pub mod fault;
pub mod file_name;
pub mod jpeg_files;
pub mod lag;
pub mod merge;
pub mod metrics;
pub mod output;
pub mod picture_files;
pub mod private_dir;
pub mod record_name;
pub mod retention;
pub mod runner;
mod sharing;
#[cfg(test)]
pub(crate) mod testing;
pub mod video;
pub mod volume;
pub mod walk;
