//! The Kubernetes operator: `CameraStream`, `FrameSink` and `KafkaConnection` in, the workloads that do their work out.
//!
//! - [`controller`] brings one resource to what it declares; its folder is the order of the steps.
//! - [`watch`] fills the [`cache`] and wakes resources; [`run`] puts it all together, [`lease`] lets one operator work.
//! - [`workers`] asks workers for their figures; [`metrics`], [`api_layer`] and [`http`] say how the operator fares.

pub mod api_layer;
pub mod backoff;
pub mod cache;
pub mod cli;
pub mod controller;
pub mod hash;
pub mod http;
pub mod lease;
pub mod metrics;
pub mod run;
pub mod settings;
pub mod watch;
pub mod workers;
