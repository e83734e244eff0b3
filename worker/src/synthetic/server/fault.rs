//! The ways in which a camera misbehaves, and when.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

macro_rules! faults {
    ($($name:ident = $text:literal: $help:literal,)*) => {
        /// What goes wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $(#[doc = $help] $name,)*
        }

        impl Fault {
            /// All of them, with their names and what they do.
            pub const ALL: &[(Fault, &str, &str)] = &[$((Fault::$name, $text, $help),)*];
        }
    };
}

faults! {
    Stall = "stall": "sends nothing and keeps the connection",
    Freeze = "freeze": "sends the same picture; only the comment goes on",
    Garbage = "garbage": "1 to 4096 random bytes before each part",
    Truncated = "truncated": "each picture is cut in half; Content-Length says so",
    TruncatedClaim = "truncated-claim": "the same; Content-Length is the whole picture's",
    Disconnect = "disconnect": "closes the connection in the middle of a picture",
    EmptyParts = "empty-parts": "a part of no bytes before each picture",
    NotImage = "not-image": "a part of plain text before each picture",
    HugePart = "huge-part": "one part of 200 MB that begins as a picture does",
    EndlessHeader = "endless-header": "a part's header that never ends",
    Html = "html": "answers with a login page",
    Unauthorized = "401": "answers 401, whatever the login",
    NotFound = "404": "answers 404",
    ServerError = "500": "answers 500",
    RedirectLoop = "redirect-loop": "redirects to itself",
    Drip = "drip": "sends byte by byte, with a pause (1 s) after each",
    Flood = "flood": "sends new frames as fast as they go",
    Resize = "resize": "pictures of half the size",
}

impl Fault {
    /// Whether it takes the place of the whole answer.
    pub fn is_answer(self) -> bool {
        matches!(self, Fault::Html | Fault::Unauthorized | Fault::NotFound | Fault::ServerError | Fault::RedirectLoop)
    }

    /// Whether it can happen to a single picture.
    pub fn is_for_snapshots(self) -> bool {
        use Fault::*;
        let single = [Stall, Freeze, Truncated, TruncatedClaim, Disconnect, EmptyParts, NotImage, Drip, Resize];
        self.is_answer() || single.contains(&self)
    }

    fn name(self) -> &'static str {
        Fault::ALL.iter().find(|(fault, ..)| *fault == self).map_or("", |(_, name, _)| name)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Fault::ALL.iter().find(|(_, name, _)| *name == text).map(|(fault, ..)| *fault).ok_or_else(|| {
            let names: Vec<&str> = Fault::ALL.iter().map(|(_, name, _)| *name).collect();
            format!("`{text}` is not a fault: take none, {}", names.join(", "))
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A fault and when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What goes wrong.
    pub fault: Fault,
    /// After so many good frames.
    pub after: u64,
    /// For so long; without it, for good.
    pub lasts: Option<Duration>,
}

/// A plan under way: it comes once.
#[derive(Clone, Copy, Debug)]
pub struct Trigger {
    plan: Plan,
    since: Option<Instant>,
}

impl Trigger {
    /// A plan that waits for its frames.
    pub fn new(plan: Plan) -> Self {
        Trigger { plan, since: None }
    }

    /// What will go wrong, is wrong or was.
    pub fn fault(&self) -> Fault {
        self.plan.fault
    }

    /// The fault, if it is there now, after so many good frames.
    pub fn active(&mut self, frames: u64, now: Instant) -> Option<Fault> {
        if self.since.is_none() && frames >= self.plan.after {
            self.since = Some(now);
        }
        let since = self.since?;
        let over = self.plan.lasts.is_some_and(|lasts| now.saturating_duration_since(since) >= lasts);
        (!over).then_some(self.plan.fault)
    }

    /// When a fault that is there now ends by itself.
    pub fn ends(&self) -> Option<Instant> {
        Some(self.since? + self.plan.lasts?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_comes_after_its_frames_and_goes_after_its_time() {
        let plan = Plan { fault: Fault::Stall, after: 3, lasts: Some(Duration::from_secs(5)) };
        let mut trigger = Trigger::new(plan);
        let start = Instant::now();
        for (frames, seconds, expected) in [
            (0, 0, None),
            (2, 100, None),
            (3, 101, Some(Fault::Stall)),
            (3, 105, Some(Fault::Stall)),
            (3, 106, None),
            (50, 107, None),
        ] {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(trigger.active(frames, now), expected, "{frames} frames, {seconds} s");
        }
    }

    #[test]
    fn without_a_time_it_stays() {
        let mut trigger = Trigger::new(Plan { fault: Fault::Freeze, after: 0, lasts: None });
        let start = Instant::now();
        assert_eq!(trigger.active(0, start), Some(Fault::Freeze));
        assert_eq!(trigger.active(9, start + Duration::from_secs(86_400)), Some(Fault::Freeze));
        assert_eq!(trigger.ends(), None);
    }

    #[test]
    fn names_are_read_and_written_back_and_an_unknown_one_names_the_others() {
        for (fault, name, _) in Fault::ALL {
            assert_eq!(name.parse(), Ok(*fault));
            assert_eq!(fault.to_string(), *name);
        }
        let error = "stal".parse::<Fault>().expect_err("refused");
        assert!(error.contains("`stal`") && error.contains("stall"), "{error}");
    }
}
