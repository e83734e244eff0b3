//! How a change that comes from the operator itself (its worker image, its settings, the way in which it builds pods) reaches
//! the workloads: a few at a time, one first, and no further when that one fails. What a resource's own declaration changes
//! is done at once, and is none of this module's business.
//!
//! - [`settings`] says how fast, [`window`] when;
//! - [`stamp`] is what stands at a workload of it: by which operator it was built, and when its turn came;
//! - [`board`] knows where each workload stands, and whose turn it is. It is filled from the cluster by the reconciles, and
//!   gives no turn before it has heard of all;
//! - [`pull`] has the image on the node before the old pod goes;
//! - [`turn`] puts it together for one reconcile, [`pause`] leaves a resource alone.

pub mod board;
pub mod pause;
pub mod pull;
pub mod settings;
pub mod stamp;
pub mod turn;
pub mod window;
