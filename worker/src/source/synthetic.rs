//! The `synthetic` source: frames made here, for trying things out without a camera.

use std::{sync::Arc, time::Duration};

use edgereel_crds::camera_stream::SyntheticSource;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{FrameStream, Part, Reason, Source, SourceError};
use crate::synthetic::{Pattern, parse_size};

/// Frames a second where `frameRate.target` does not say.
const USUAL_RATE: f64 = 30.0;
/// What the picture calls itself.
const LABEL: &str = "synthetic";

/// A camera that is none.
#[derive(Debug)]
pub struct Synthetic {
    pattern: Arc<Pattern>,
    period: Duration,
}

impl Synthetic {
    /// A camera of the spec's size; `target` in frames a second, 30 without it. Fails when the size cannot be made.
    pub fn new(spec: &SyntheticSource, target: Option<f64>) -> Result<Self, SourceError> {
        let invalid = |message: String| {
            SourceError::new(Reason::InvalidConfiguration, format!("spec.source.synthetic: {message}"))
        };
        let (width, height) = parse_size(&spec.size).map_err(invalid)?;
        let pattern = Pattern::new(width, height, spec.frame_bytes.as_usize()).map_err(invalid)?;
        let rate = target.unwrap_or(USUAL_RATE);
        let period = Duration::try_from_secs_f64(1.0 / rate).ok().filter(|period| !period.is_zero());
        let period = period.ok_or_else(|| invalid(format!("{rate} frames a second cannot be made")))?;
        Ok(Synthetic { pattern, period })
    }
}

impl Source for Synthetic {
    fn connect(&mut self) -> BoxFuture<'_, Result<Box<dyn FrameStream>, SourceError>> {
        Box::pin(async {
            let mut ticks = interval(self.period);
            // Frames stay on their schedule: what could not be made in time is left out, not made in a burst.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            Ok(Box::new(Film { pattern: self.pattern.clone(), ticks, sequence: 0 }) as Box<dyn FrameStream>)
        })
    }
}

struct Film {
    pattern: Arc<Pattern>,
    ticks: Interval,
    sequence: u64,
}

impl FrameStream for Film {
    fn next(&mut self) -> BoxFuture<'_, Result<Part, SourceError>> {
        Box::pin(async {
            self.ticks.tick().await;
            let frame = self.pattern.frame(self.sequence, Timestamp::now(), LABEL);
            self.sequence += 1;
            Ok(Part::Picture(frame))
        })
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::units::ByteSize;

    use super::*;

    fn spec(size: &str) -> SyntheticSource {
        SyntheticSource { size: size.into(), frame_bytes: ByteSize(20_000) }
    }

    #[tokio::test]
    async fn frames_come_in_their_order_and_about_as_large_as_asked_for() {
        let mut source = Synthetic::new(&spec("320x240"), Some(500.0)).expect("a source");
        let mut stream = source.connect().await.expect("a stream");
        for sequence in 0..5 {
            let Part::Picture(jpeg) = stream.next().await.expect("a part") else { panic!("not a picture") };
            assert!((15_000..25_000).contains(&jpeg.len()), "{}", jpeg.len());
            let comment = format!("edgereel seq={sequence} time=");
            assert!(jpeg.windows(comment.len()).any(|w| w == comment.as_bytes()), "frame {sequence}");
        }
    }

    #[test]
    fn without_a_target_there_are_thirty_frames_a_second() {
        let source = Synthetic::new(&spec("320x240"), None).expect("a source");
        assert_eq!(source.period.as_millis(), 33);
    }

    #[test]
    fn a_size_that_cannot_be_made_is_refused_with_its_field() {
        for size in ["320", "320x241", "32x32"] {
            let error = Synthetic::new(&spec(size), None).expect_err("refused");
            assert_eq!(error.reason, Reason::InvalidConfiguration);
            assert!(error.message.starts_with("spec.source.synthetic: "), "{}", error.message);
        }
    }
}
