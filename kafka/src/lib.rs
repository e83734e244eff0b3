//! Kafka: the only place that names rdkafka.
//!
//! - [`client`] turns a `KafkaConnection` into a client's configuration, [`context`] is what every client calls back to:
//!   it feeds [`health`] and fetches tokens (`oauth`); [`fault`] puts errors into words
//!   (with `detail`'s help).
//! - [`topics`] makes and checks topics, through the requests of `admin`; `topic_check` compares, `rights` asks what this
//!   user may do.
//! - [`producer`] sends records and tells of each one's fate; [`headers`] reads and writes a record's headers.
//! - [`reader`] reads what a topic holds now, outside of any group.
//! - [`consumer`] reads a group's records on a thread of its own.

mod admin;
pub mod client;
pub mod consumer;
pub mod context;
mod detail;
pub mod fault;
pub mod headers;
pub mod health;
mod oauth;
pub mod producer;
mod producer_config;
pub mod reach;
pub mod reader;
mod rights;
mod topic_check;
pub mod topics;
