//! The edgereel worker: cameras to Kafka, Kafka to disk.
//!
//! Data flows one way: [`source`] → [`edgereel_frame`] → [`edgereel_kafka`] → [`sink`]; [`capture`] joins the first three, [`sink`]
//! the last two; [`folder`] sends files, [`videos`] frames of files. [`kinds`] says which of them a plan wants, [`edgereel_runtime`] keeps them running and tells
//! the world how they fare. [`check`] looks beforehand whether they can, [`verify`] afterwards whether they did; [`export`] cuts
//! clips out of what they stored, [`discover`] finds cameras, [`bench`] measures Kafka. `bucket` is an object store.

pub mod bench;
mod bucket;
pub mod capture;
pub mod check;
pub mod cli;
pub mod discover;
pub mod export;
pub mod ffmpeg;
pub mod folder;
pub mod kinds;
pub mod pacing;
pub mod replay;
pub mod sink;
pub mod source;
pub mod synthetic;
pub mod verify;
pub mod videos;
