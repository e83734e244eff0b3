//! The edgereel worker: cameras to Kafka, Kafka to disk.
//!
//! Data flows one way: [`source`] → [`frame`] → [`kafka`] → [`sink`]; [`capture`] joins the first three, [`sink`] the
//! last two. [`run`] starts one of these for each resource and [`serve`] tells the world how they fare. [`check`] looks
//! beforehand whether they can, [`verify`] afterwards whether they did.

pub mod capture;
pub mod check;
pub mod cli;
pub mod metrics;
pub mod run;
pub mod serve;
pub mod sink;
pub mod source;
pub mod synthetic;
pub mod verify;
