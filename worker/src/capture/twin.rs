//! Notices another process that captures the same camera into the same topic: each frame stands there twice then.
//!
//! Every few seconds each process reads the note that both share in Kafka and then writes its own name into it. One that finds
//! another's name where it had written its own is not alone: the other writes, too. What stands there at the first look says
//! nothing, for whoever wrote it may be gone. Nothing waits for an answer, and nothing but what is said depends on it.

use std::time::{Duration, Instant};

use crate::kafka::consumer::notes::{Answer, Notes};

/// From one look to the next, and how much of it is left to chance: two that look in step would overwrite each other.
const LOOK: (Duration, Duration) = (Duration::from_millis(2500), Duration::from_millis(1000));
/// After a refusal.
const REFUSED: Duration = Duration::from_secs(3600);
/// So many looks in a row find another before it is said, and none before it is taken back. A pod that takes over from one that
/// is just ending says nothing.
const SAID_AFTER: u32 = 2;
const GONE_AFTER: u32 = 3;

/// What is known of another process.
#[derive(Debug)]
pub struct Twin {
    session: String,
    who: String,
    /// Its own name was written into the note.
    written: bool,
    /// How often in a row another was found, and how often none.
    found: u32,
    alone: u32,
    other: Option<String>,
}

impl Twin {
    /// Nothing is known yet. The session is this process's alone; `who` is for people.
    pub fn new(session: &str, who: &str) -> Self {
        Twin { session: session.to_owned(), who: who.to_owned(), written: false, found: 0, alone: 0, other: None }
    }

    /// The note of this process.
    pub fn note(&self) -> String {
        format!("{} {}", self.session, self.who)
    }

    /// The note was read.
    pub fn read(&mut self, note: Option<&str>) {
        if !self.written {
            return;
        }
        match note.and_then(|note| note.split_once(' ')).filter(|(session, _)| *session != self.session) {
            Some((_, who)) => {
                (self.found, self.alone) = (self.found + 1, 0);
                if self.found >= SAID_AFTER {
                    self.other = Some(who.to_owned());
                }
            }
            None => {
                (self.found, self.alone) = (0, self.alone + 1);
                if self.alone >= GONE_AFTER {
                    self.other = None;
                }
            }
        }
    }

    /// The note was written.
    pub fn wrote(&mut self) {
        self.written = true;
    }

    /// The other process, if there is one.
    pub fn other(&self) -> Option<&str> {
        self.other.as_deref()
    }
}

/// This process, for people: where it runs, and its number there.
pub fn who() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "a machine without a name" } else { host.trim() };
    format!("process {} on {host}", std::process::id())
}

/// Looks for another process.
pub struct Lookout {
    twin: Twin,
    notes: Option<Notes>,
    due: Instant,
}

impl Lookout {
    /// The first look is due at once.
    pub fn new(twin: Twin, notes: Option<Notes>, now: Instant) -> Self {
        Lookout { twin, notes, due: now }
    }

    /// The other process, if there is one.
    pub fn other(&self) -> Option<&str> {
        self.twin.other()
    }

    /// Whether an answer is awaited: call [`step`](Self::step) soon.
    pub fn is_under_way(&self) -> bool {
        self.notes.as_ref().is_some_and(Notes::is_under_way)
    }

    /// Takes an answer in, and asks what is due. After a refusal, in the broker's words, it looks again in an hour.
    pub fn step(&mut self, now: Instant) -> Result<(), String> {
        let Some(notes) = &mut self.notes else { return Ok(()) };
        match notes.answer() {
            Some(Answer::Read(note)) => {
                self.twin.read(note.as_deref());
                notes.write(&self.twin.note());
            }
            Some(Answer::Written) => self.twin.wrote(),
            Some(Answer::Refused(words)) => {
                self.twin.other = None;
                self.due = now + REFUSED;
                return Err(words);
            }
            Some(Answer::Failed(words)) => tracing::debug!("a look for another process failed: {words}"),
            None if !notes.is_under_way() && now >= self.due => {
                self.due = now + LOOK.0 + LOOK.1.mul_f64(rand::random::<f64>());
                notes.read();
            }
            None => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A note in Kafka, and who looks at it.
    struct Kafka(Option<String>);

    impl Kafka {
        fn look(&mut self, twin: &mut Twin) {
            twin.read(self.0.as_deref());
            self.0 = Some(twin.note());
            twin.wrote();
        }
    }

    #[test]
    fn two_at_once_are_told_and_one_that_goes_is_taken_back() {
        let (mut kafka, mut a, mut b) = (Kafka(None), Twin::new("a", "process 1"), Twin::new("b", "process 2"));
        for _ in 0..5 {
            kafka.look(&mut a);
        }
        assert_eq!(a.other(), None);
        for _ in 0..3 {
            kafka.look(&mut b);
            kafka.look(&mut a);
        }
        assert_eq!((a.other(), b.other()), (Some("process 2"), Some("process 1")));
        (0..GONE_AFTER + 1).for_each(|_| kafka.look(&mut a));
        assert_eq!(a.other(), None);
    }

    #[test]
    fn a_process_that_starts_again_is_alone_from_its_first_look_on() {
        let (mut kafka, mut before) = (Kafka(None), Twin::new("before", "process 1"));
        (0..5).for_each(|_| kafka.look(&mut before));
        let mut after = Twin::new("after", "process 2");
        for _ in 0..10 {
            kafka.look(&mut after);
            assert_eq!(after.other(), None);
        }
    }

    #[test]
    fn a_pod_that_is_just_ending_says_nothing() {
        let (mut kafka, mut old, mut new) = (Kafka(None), Twin::new("old", "1"), Twin::new("new", "2"));
        kafka.look(&mut old);
        kafka.look(&mut new);
        kafka.look(&mut old);
        for _ in 0..10 {
            kafka.look(&mut new);
            assert_eq!((old.other(), new.other()), (None, None));
        }
    }

    proptest! {
        /// Whoever looks when: one alone is never told of another, whatever stood there before.
        #[test]
        fn nobody_sees_itself(before in prop::option::of("[a-z]{1,4} process [0-9]"), looks in 1usize..50) {
            let (mut kafka, mut only) = (Kafka(before), Twin::new("only", "process 1"));
            for _ in 0..looks {
                kafka.look(&mut only);
                prop_assert_eq!(only.other(), None);
            }
        }
    }
}
