//! (being written)
use super::*;
/// MJPEG
pub struct Mjpeg;
impl Mjpeg {
    /// new
    pub fn new(
        _: &edgereel_crds::camera_stream::MjpegSource,
        _: edgereel_crds::units::ByteSize,
        _: &str,
        _: &Secrets,
    ) -> Result<Self, SourceError> {
        Ok(Mjpeg)
    }
}
impl Source for Mjpeg {
    fn connect(&mut self) -> BoxFuture<'_, Result<Box<dyn FrameStream>, SourceError>> {
        Box::pin(async { Err(SourceError::new(Reason::InternalError, "")) })
    }
}
