//! Where frames come from: one file a source, one trait.
//!
//! A source dials ([`Source::connect`]) and then yields parts ([`FrameStream::next`]) until it fails; dialling again,
//! pacing and the watchdog belong to [`crate::capture`]. Nothing here looks into a picture.

pub mod apart;
pub mod device;
pub mod http;
mod jpegs;
pub mod login;
pub mod media;
pub mod mjpeg;
pub mod multipart;
mod reader;
pub mod rtsp;
pub mod snapshot;
pub mod synthetic;

use bytes::Bytes;
use edgereel_crds::{
    camera_stream::{Encoding, Reencode},
    plan::CameraPlan,
    status::Reason,
    units::ByteSize,
};
use edgereel_frame::reasons::DropReason;
use edgereel_runtime::{fault::Fault, plain::plain, secrets::Secrets};
use futures::future::BoxFuture;

/// A camera that can be dialled.
pub trait Source: Send {
    /// Dials the camera. The caller bounds the time by dropping the future.
    fn connect(&mut self) -> BoxFuture<'_, Result<Box<dyn FrameStream>, SourceError>>;

    /// How the camera that was dialled wanted to be logged in to, in words; nothing of one that knows no logins.
    fn login(&self) -> Option<String> {
        None
    }
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
    /// Bytes that begin as a JPEG does; not yet inspected, and perhaps several pictures: [`apart`] tells.
    Picture(Bytes),
    /// Something that is not a picture and was passed over; to be counted.
    Skipped(DropReason),
    /// A picture of so many bytes, which is more than is read; to be counted.
    TooLarge(usize),
    /// A picture that was there and was not made, since more come than `frameRate.target` wants; to be counted as paced.
    NotWanted,
    /// Something that is not meant to be a picture: text, sound. No frame was lost.
    Beside,
    /// A request that brought no picture, after which the next may bring one; to be counted, with why.
    Bad(DropReason, SourceError),
}

/// Why a camera gives no (more) frames.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// For the condition.
    pub reason: Reason,
    /// For people: what is wrong and what to do, without credentials.
    pub message: String,
    /// When it is dialled again.
    pub again: Again,
}

impl From<SourceError> for Fault {
    fn from(error: SourceError) -> Self {
        Fault::new(error.reason, error.message)
    }
}

/// When a camera is dialled again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Again {
    /// After a wait that grows from failure to failure.
    #[default]
    Later,
    /// After a short wait: to look whether it is back costs nobody anything.
    Soon,
    /// At once if it has sent pictures: it ended its answer in order, and that is its way to work.
    AtOnce,
    /// After a long wait: it has refused the login, and a few wrong ones lock the account.
    MuchLater,
}

impl SourceError {
    /// An error with its reason.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        SourceError { reason, message: plain(message.into()), again: Again::default() }
    }

    /// The same, after which the camera is dialled again otherwise.
    pub fn again(self, again: Again) -> Self {
        SourceError { again, ..self }
    }
}

/// No camera's JPEG is larger: what is to be encoded smaller may have this many bytes when it comes.
const LARGEST_TO_REENCODE: ByteSize = ByteSize::mebi(16);

/// The largest picture that is worth reading: with `reencode` it may shrink, so that `maxFrameBytes` comes later.
pub(crate) fn largest_picture(encoding: &Encoding) -> ByteSize {
    match encoding.reencode {
        Reencode::Never => encoding.max_frame_bytes,
        Reencode::Quality | Reencode::Size => encoding.max_frame_bytes.max(LARGEST_TO_REENCODE),
    }
}

/// The source that a camera's spec names. Fails when a secret is missing or a value cannot be used.
pub fn open(plan: &CameraPlan, secrets: &Secrets) -> Result<Box<dyn Source>, SourceError> {
    use edgereel_crds::camera_stream::Source as Spec;
    let (namespace, largest) = (&plan.name.namespace, largest_picture(&plan.spec.encoding));
    Ok(match &plan.spec.source {
        Spec::Mjpeg(spec) => Box::new(mjpeg::Mjpeg::new(spec, largest, namespace, secrets)?),
        Spec::Snapshot(spec) => Box::new(snapshot::Snapshot::new(spec, largest, namespace, secrets)?),
        Spec::Rtsp(spec) => Box::new(rtsp::Rtsp::new(spec, &plan.spec, namespace, secrets)?),
        Spec::Device(spec) => Box::new(device::Device::new(spec, &plan.spec)),
        Spec::Directory(_) | Spec::File(_) => {
            return Err(SourceError::new(Reason::InternalError, "files are no camera that can be dialled"));
        }
        Spec::Synthetic(spec) => Box::new(synthetic::Synthetic::new(spec, plan.spec.frame_rate.target)?),
    })
}
