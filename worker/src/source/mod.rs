//! Where frames come from: one file a source, one trait.
//!
//! A source dials ([`Source::connect`]) and then yields parts ([`FrameStream::next`]) until it fails; dialling again,
//! pacing and the watchdog belong to [`crate::capture`]. Nothing here looks into a picture.

pub mod http;
pub mod mjpeg;
pub mod multipart;
pub mod snapshot;
pub mod synthetic;

use bytes::Bytes;
use edgereel_crds::{plan::CameraPlan, status::Reason};
use futures::future::BoxFuture;

use crate::{metrics::DropReason, secrets::Secrets};

/// A camera that can be dialled.
pub trait Source: Send {
    /// Dials the camera. The caller bounds the time by dropping the future.
    fn connect(&mut self) -> BoxFuture<'_, Result<Box<dyn FrameStream>, SourceError>>;
}

/// An open camera.
pub trait FrameStream: Send {
    /// The next part. After an error the stream is done; the caller bounds the time by dropping the future, and then
    /// drops the stream too.
    fn next(&mut self) -> BoxFuture<'_, Result<Part, SourceError>>;
}

/// What a camera sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Bytes that begin as a JPEG does; not yet inspected.
    Picture(Bytes),
    /// Something that is not a picture and was passed over; to be counted.
    Skipped(DropReason),
}

/// Why a camera gives no (more) frames.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// For the condition.
    pub reason: Reason,
    /// For people: what is wrong and what to do, without credentials.
    pub message: String,
}

impl SourceError {
    /// An error with its reason.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        SourceError { reason, message: message.into() }
    }
}

/// The source that a camera's spec names. Fails when a secret is missing or a value cannot be used.
pub fn open(plan: &CameraPlan, secrets: &Secrets) -> Result<Box<dyn Source>, SourceError> {
    use edgereel_crds::camera_stream::Source as Spec;
    let namespace = &plan.name.namespace;
    Ok(match &plan.spec.source {
        Spec::Mjpeg(spec) => Box::new(mjpeg::Mjpeg::new(spec, plan.spec.encoding.max_frame_bytes, namespace, secrets)?),
        Spec::Snapshot(spec) => {
            Box::new(snapshot::Snapshot::new(spec, plan.spec.encoding.max_frame_bytes, namespace, secrets)?)
        }
        Spec::Synthetic(spec) => Box::new(synthetic::Synthetic::new(spec, plan.spec.frame_rate.target)?),
    })
}
