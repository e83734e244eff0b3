//! Ends that look alive and are not: a camera that always sends the same picture, brokers that hold their connections and
//! acknowledge nothing.

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

/// Watches the acknowledgements. librdkafka itself finds a hanging broker only after its socket's timeout of a minute.
#[derive(Debug)]
pub struct Silent {
    limit: Duration,
    landed: u64,
    since: Option<Instant>,
}

impl Silent {
    /// Frames may be on their way for `limit` without one landing.
    pub fn new(limit: Duration) -> Self {
        Silent { limit, landed: 0, since: None }
    }

    /// Whether the silence is too long, when `landed` frames have met their fate so far and others are `flying` or not.
    pub fn observe(&mut self, landed: u64, flying: bool, now: Instant) -> bool {
        if !flying || landed != self.landed {
            self.landed = landed;
            self.since = None;
        }
        flying && now.duration_since(*self.since.get_or_insert(now)) >= self.limit
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
    fn frames_on_their_way_without_any_landing_for_the_whole_limit_are_silence() {
        let (start, mut silent) = (Instant::now(), Silent::new(Duration::from_secs(5)));
        let at = |s| start + Duration::from_secs(s);
        for (landed, flying, now, expected) in [
            (0, false, 0, false),
            (0, false, 60, false),
            (0, true, 61, false),
            (0, true, 65, false),
            (0, true, 66, true),
            (0, true, 90, true),
            (1, true, 91, false),
            (1, true, 96, true),
            (1, false, 97, false),
            (1, true, 98, false),
        ] {
            assert_eq!(silent.observe(landed, flying, at(now)), expected, "{landed} landed, {flying}, at {now} s");
        }
    }

    #[test]
    fn zero_turns_it_off() {
        let (start, mut frozen) = (Instant::now(), Frozen::new(Duration::ZERO));
        assert_eq!(frozen.observe(1, start), None);
        assert_eq!(frozen.observe(1, start + Duration::from_secs(3600)), None);
    }
}
