//! Kafka: the only place that names rdkafka.
//!
//! - [`client`] turns a `KafkaConnection` into a client's configuration and classifies errors.
//! - [`topics`] makes and checks topics.
//! - [`producer`] sends records and tells of each one's fate.
//! - [`consumer`] reads a group's records on a thread of its own.

pub mod client;
pub mod consumer;
pub mod producer;
pub mod topics;
