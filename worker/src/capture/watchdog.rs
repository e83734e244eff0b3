//! A camera that goes on sending, but always the same picture.

use std::time::{Duration, Instant};

/// Watches the pictures' hashes.
#[derive(Debug)]
pub struct Frozen {
    limit: Duration,
    picture: Option<(u64, Instant)>,
}

impl Frozen {
    /// A picture may stand for `limit`; zero turns the watch off.
    pub fn new(limit: Duration) -> Self {
        Frozen { limit, picture: None }
    }

    /// Whether the hash is worth computing.
    pub fn is_on(&self) -> bool {
        !self.limit.is_zero()
    }

    /// Takes in the picture that came at `now`. Gives the time for which it has been standing, once that is too long.
    pub fn observe(&mut self, picture: u64, now: Instant) -> Option<Duration> {
        match self.picture {
            Some((known, since)) if known == picture => {
                let standing = now.duration_since(since);
                (self.is_on() && standing >= self.limit).then_some(standing)
            }
            _ => {
                self.picture = Some((picture, now));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_picture_for_the_whole_limit_is_frozen_and_another_one_thaws_it() {
        let (start, mut frozen) = (Instant::now(), Frozen::new(Duration::from_secs(60)));
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(frozen.observe(1, at(0)), None);
        assert_eq!(frozen.observe(1, at(59)), None);
        assert_eq!(frozen.observe(1, at(60)), Some(Duration::from_secs(60)));
        assert_eq!(frozen.observe(1, at(90)), Some(Duration::from_secs(90)));
        assert_eq!(frozen.observe(2, at(91)), None);
        assert_eq!(frozen.observe(2, at(150)), None);
    }

    #[test]
    fn zero_turns_it_off() {
        let (start, mut frozen) = (Instant::now(), Frozen::new(Duration::ZERO));
        assert_eq!(frozen.observe(1, start), None);
        assert_eq!(frozen.observe(1, start + Duration::from_secs(3600)), None);
    }
}
