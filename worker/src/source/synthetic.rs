//! (being written)
use super::*;
/// MJPEG
pub struct Synthetic;
impl Synthetic {
    /// new
    pub fn new(_: &edgereel_crds::camera_stream::SyntheticSource, _: Option<f64>) -> Result<Self, SourceError> {
        Ok(Synthetic)
    }
}
impl Source for Synthetic {
    fn connect(&mut self) -> BoxFuture<'_, Result<Box<dyn FrameStream>, SourceError>> {
        Box::pin(async { Err(SourceError::new(Reason::InternalError, "")) })
    }
}
