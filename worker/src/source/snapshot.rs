//! (being written)
use super::*;
/// snapshot
pub struct Snapshot;
impl Snapshot {
    /// new
    pub fn new(
        _: &edgereel_crds::camera_stream::SnapshotSource,
        _: edgereel_crds::units::ByteSize,
        _: &str,
        _: &Secrets,
    ) -> Result<Self, SourceError> {
        Ok(Snapshot)
    }
}
impl Source for Snapshot {
    fn connect(&mut self) -> BoxFuture<'_, Result<Box<dyn FrameStream>, SourceError>> {
        Box::pin(async { Err(SourceError::new(Reason::InternalError, "")) })
    }
}
