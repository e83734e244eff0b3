//! Ends that look alive and are not: a camera that always sends the same picture, brokers that hold their connections and
//! acknowledge nothing.

use std::time::{Duration, Instant};

/// Watches for pictures that are the same as the one before.
#[derive(Debug)]
pub struct Frozen {
    limit: Duration,
    standing: Option<Standing>,
}

/// The picture that was seen last.
#[derive(Debug)]
struct Standing {
    length: u32,
    /// Unknown while no other picture had this length.
    hash: Option<u64>,
    since: Instant,
}

impl Frozen {
    /// A picture may stand for `limit`; zero turns the watch off.
    pub fn new(limit: Duration) -> Self {
        Frozen { limit, standing: None }
    }

    /// The time until the next picture does not count: nobody knows what the camera showed meanwhile.
    pub fn forget(&mut self) {
        self.standing = None;
    }

    /// Takes in the picture that came at `now`. Gives the time for which it has been standing, once that is too long.
    ///
    /// A picture of another length is another picture: its `hash` is not asked for. So a picture's standing counts from
    /// the second time that it comes.
    pub fn observe(&mut self, length: u32, hash: impl FnOnce() -> u64, now: Instant) -> Option<Duration> {
        if self.limit.is_zero() {
            return None;
        }
        let hash = match &self.standing {
            Some(standing) if standing.length == length => Some(hash()),
            _ => None,
        };
        match &self.standing {
            Some(standing) if hash.is_some() && standing.hash == hash => {
                let time = now.duration_since(standing.since);
                (time >= self.limit).then_some(time)
            }
            _ => {
                self.standing = Some(Standing { length, hash, since: now });
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
        let mut see = |hash, second| frozen.observe(100, || hash, at(second));
        assert_eq!([see(1, 0), see(1, 1), see(1, 60)], [None; 3]);
        assert_eq!(see(1, 61), Some(Duration::from_secs(60)));
        assert_eq!(see(1, 90), Some(Duration::from_secs(89)));
        assert_eq!([see(2, 91), see(2, 150)], [None; 2]);
        assert_eq!(see(2, 151), Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_camera_that_was_away_is_not_frozen_when_it_comes_back_with_the_same_picture() {
        let (start, mut frozen) = (Instant::now(), Frozen::new(Duration::from_secs(60)));
        let at = |s| start + Duration::from_secs(s);
        (0..30).for_each(|second| assert_eq!(frozen.observe(100, || 1, at(second)), None));
        frozen.forget();
        (600..660).for_each(|second| assert_eq!(frozen.observe(100, || 1, at(second)), None));
        assert!(frozen.observe(100, || 1, at(661)).is_some());
    }

    #[test]
    fn a_picture_of_another_length_is_another_one_and_is_not_even_hashed() {
        let (start, mut frozen) = (Instant::now(), Frozen::new(Duration::from_secs(1)));
        for second in 0..10 {
            let length = 100 + u32::from(second % 2 == 0);
            let unasked = || unreachable!("it was hashed");
            assert_eq!(frozen.observe(length, unasked, start + Duration::from_secs(second)), None);
        }
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
        for hour in 0..3 {
            assert_eq!(frozen.observe(1, || 1, start + Duration::from_secs(hour * 3600)), None);
        }
    }
}
