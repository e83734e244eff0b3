//! A camera that sends, and of which nothing goes on: since when, and what is wrong with it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use edgereel_crds::status::Reason;
use edgereel_frame::reasons::DropReason;

use crate::source::SourceError;

/// What came since the last picture that was whole and small enough.
#[derive(Debug, Default)]
pub struct Losing {
    last_good: Option<Instant>,
    dropped: BTreeMap<&'static str, u64>,
    /// What was wrong with the last one.
    detail: String,
    /// Parts that are not meant to be pictures.
    beside: u64,
}

impl Losing {
    /// A picture was fit to go on.
    pub fn went_on(&mut self, now: Instant) {
        self.last_good = Some(now);
        self.dropped.clear();
        self.beside = 0;
    }

    /// One was dropped.
    pub fn lost(&mut self, reason: DropReason, detail: &str) {
        *self.dropped.entry(reason.as_str()).or_default() += 1;
        detail.clone_into(&mut self.detail);
    }

    /// A part came that is not meant to be a picture.
    pub fn beside(&mut self) {
        self.beside += 1;
    }

    /// Whether no picture has gone on for `limit`, or none ever.
    pub fn for_too_long(&self, limit: Duration, now: Instant) -> bool {
        self.last_good.is_none_or(|last| now.duration_since(last) >= limit)
    }

    /// What there is to say of a camera of which nothing goes on; nothing when nothing comes either.
    pub fn fault(&self) -> Option<SourceError> {
        if !self.dropped.is_empty() {
            let counts = self.dropped.iter().enumerate();
            let counts = counts.map(|(n, (reason, count))| match n {
                0 => format!("{count} dropped as {reason}"),
                _ => format!("{count} as {reason}"),
            });
            let counts = counts.collect::<Vec<_>>().join(", ");
            let message = format!("pictures come, {counts}; the last: {}", self.detail);
            return Some(SourceError::new(Reason::CameraFramesDropped, message));
        }
        let message = format!("no picture comes, but {} parts of other types", self.beside);
        (self.beside > 0).then(|| SourceError::new(Reason::CameraProtocolError, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_told_by_reason_until_a_picture_goes_on() {
        let (start, mut losing) = (Instant::now(), Losing::default());
        let (limit, later) = (Duration::from_secs(10), start + Duration::from_secs(10));
        assert!(losing.fault().is_none() && losing.for_too_long(limit, start));
        losing.beside();
        let fault = losing.fault().expect("parts came");
        assert_eq!(fault.reason, Reason::CameraProtocolError);
        assert!(fault.message.contains("1 parts of other types"), "{fault}");
        (0..3).for_each(|_| losing.lost(DropReason::too_large, "800001 bytes"));
        losing.lost(DropReason::empty, "a part is empty");
        let fault = losing.fault().expect("pictures were dropped");
        assert_eq!(fault.reason, Reason::CameraFramesDropped);
        assert_eq!(fault.message, "pictures come, 1 dropped as empty, 3 as too_large; the last: a part is empty");
        losing.went_on(start);
        assert!(losing.fault().is_none() && !losing.for_too_long(limit, start) && losing.for_too_long(limit, later));
    }
}
