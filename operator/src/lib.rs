//! The Kubernetes operator: `CameraStream`, `FrameSink` and `KafkaConnection` in, the workloads that do their work out.
//!
//! - [`controller`] brings one resource to what it declares; its folder is the order of the steps.
//! - [`kinds`] has what differs between the kinds, one file each; nothing else names one.
//! - [`rollout`] has changes of the operator itself reach the pods a few at a time.
//! - [`watch`] fills the [`cache`] (children are kept [`cold`]), [`wakes`] finds out by the [`references`] whom that concerns; [`run`] puts it all
//!   together, [`lease`] lets one operator work, [`guard`] one installation; [`definitions`] says whether the API server's are of another version.
//! - [`reports`] keeps what [`workers`] answer, asked by a poller of its own; [`metrics`], [`api_layer`] and [`http`] say how the operator fares.

// A kind that is added must not fall into an arm for all the others.
#![deny(clippy::wildcard_enum_match_arm)]

pub mod api_layer;
pub mod backoff;
pub mod cache;
pub mod cli;
pub mod cold;
pub mod config_maps;
pub mod controller;
pub mod definitions;
pub mod groups;
pub mod guard;
pub mod hash;
pub mod http;
pub mod kinds;
pub mod lease;
pub mod metrics;
pub mod nodes;
pub mod realm;
pub mod references;
pub mod reports;
pub mod rollout;
pub mod run;
pub mod settings;
pub mod stored;
pub mod wakes;
pub mod watch;
pub mod words;
pub mod workers;
