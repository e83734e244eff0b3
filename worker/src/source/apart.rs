//! Takes apart what holds several pictures: each is a frame of its own.

use bytes::Bytes;
use edgereel_frame::jpeg::first_of;
use futures::future::BoxFuture;

use super::{FrameStream, Part, SourceError};

/// A stream whose parts hold one picture each.
pub struct Apart {
    stream: Box<dyn FrameStream>,
    /// What stands behind the picture that was given last.
    rest: Bytes,
}

impl Apart {
    /// Takes apart what this stream gives.
    pub fn new(stream: Box<dyn FrameStream>) -> Self {
        Apart { stream, rest: Bytes::new() }
    }
}

impl FrameStream for Apart {
    fn next(&mut self) -> BoxFuture<'_, Result<Part, SourceError>> {
        Box::pin(async move {
            if self.rest.is_empty() {
                match self.stream.next().await? {
                    Part::Picture(bytes) => self.rest = bytes,
                    part => return Ok(part),
                }
            }
            let first = first_of(&self.rest);
            Ok(Part::Picture(self.rest.split_to(first)))
        })
    }
}

#[cfg(test)]
mod tests {
    use edgereel_frame::{
        reasons::DropReason,
        samples::{mpo, picture},
    };

    use super::*;

    struct Parts(Vec<Part>);

    impl FrameStream for Parts {
        fn next(&mut self) -> BoxFuture<'_, Result<Part, SourceError>> {
            Box::pin(async { Ok(self.0.remove(0)) })
        }
    }

    #[tokio::test]
    async fn a_part_that_holds_two_pictures_gives_two_frames_and_an_mpo_one() {
        let (one, two) = (picture(32, 32, 1), picture(24, 24, 2));
        let both = Bytes::from([&one[..], &two].concat());
        let whole = Bytes::from(mpo(&[one.clone(), two.clone()], true));
        let skipped = Part::Skipped(DropReason::empty);
        let parts = vec![Part::Picture(both), skipped.clone(), Part::Picture(whole.clone())];
        let mut apart = Apart::new(Box::new(Parts(parts)));
        for expected in [Part::Picture(one.into()), Part::Picture(two.into()), skipped, Part::Picture(whole)] {
            assert_eq!(apart.next().await.expect("a part"), expected);
        }
    }
}
