//! Notices another process that captures the same camera into the same topic: each frame stands there twice then.
//!
//! Every few seconds a process that captures reads the note that all of them share in Kafka, and writes its own over it. A note of
//! another that was not there at the look before was written meanwhile: that one captures, too. So nothing is concluded from a
//! note that stays, for whoever wrote it may be gone; nothing waits for an answer, and nothing but what is said depends on it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use edgereel_crds::plan::CameraPlan;
use edgereel_kafka::consumer::notes::{NoNote, Notes};
use edgereel_runtime::secrets::Secrets;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Keep, health::Health};

/// How often the thread looks whether something is due.
const PAUSE: Duration = Duration::from_millis(500);
/// What was known so long ago is known no more.
const STALE: Duration = Duration::from_secs(90);
/// From one look to the next, and how much of it is left to chance: of two that look in step one would never be seen.
const LOOK: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(2));
/// After a refusal.
const REFUSED: Duration = Duration::from_secs(3600);
/// So many new notes of another before it is said: a pod that takes over from one that is just ending says nothing.
const SAID_AFTER: u32 = 2;
/// So many looks without a new one before it is taken back.
const GONE_AFTER: u32 = 4;

/// What a note says: whose it is, which of theirs, and who that is to people.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    session: String,
    number: u64,
    who: String,
}

impl Note {
    fn parse(text: &str) -> Option<Self> {
        let (session, rest) = text.split_once(' ')?;
        let (number, who) = rest.split_once(' ')?;
        Some(Note { session: session.to_owned(), number: number.parse().ok()?, who: who.to_owned() })
    }

    fn text(&self) -> String {
        format!("{} {} {}", self.session, self.number, self.who)
    }
}

/// What is known of other processes.
#[derive(Debug)]
struct Twins {
    own: Note,
    /// What the last look found; nothing before the first one.
    found: Option<Option<Note>>,
    /// How many looks found a note that another had just written, since nobody else was known.
    signs: u32,
    /// Who wrote them, by session, and how many looks ago the last.
    others: BTreeMap<String, (String, u32)>,
}

impl Twins {
    /// Nothing is known yet. The session is this process's alone; `who` is for people.
    fn new(session: &str, who: String) -> Self {
        let own = Note { session: session.to_owned(), number: 0, who };
        Twins { own, found: None, signs: 0, others: BTreeMap::new() }
    }

    /// The note was looked at, and this was there. Gives what to write over it.
    fn look(&mut self, text: Option<&str>) -> String {
        self.others.values_mut().for_each(|(_, quiet)| *quiet += 1);
        let note = text.and_then(Note::parse);
        let before = self.found.replace(note.clone());
        if let (Some(note), Some(before)) = (note, before)
            && note.session != self.own.session
            && before.as_ref() != Some(&note)
        {
            self.signs = self.signs.saturating_add(1);
            self.others.insert(note.session, (note.who, 0));
        }
        self.others.retain(|_, (_, quiet)| *quiet <= GONE_AFTER);
        if self.others.is_empty() {
            self.signs = 0;
        }
        self.own.number += 1;
        self.own.text()
    }

    /// What was known may be so no more.
    fn forget(&mut self) {
        (self.found, self.signs) = (None, 0);
        self.others.clear();
    }

    fn said(&self) -> Said {
        match (&self.found, self.signs >= SAID_AFTER) {
            (None, _) => Said::Nothing,
            (_, false) => Said::Alone,
            (_, true) => Said::Others(self.others.values().map(|(who, _)| &**who).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// What is to be said of other processes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    /// Nobody has looked lately.
    Nothing,
    Alone,
    Others(String),
}

/// This process, for people: where it runs, and its number there.
fn who() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "a machine without a name" } else { host.trim() };
    format!("process {} on {host}", std::process::id())
}

/// What is heard of others.
pub(super) struct Heard(watch::Receiver<Said>);

/// Looks for others on a thread of its own, since a look may block, as long as somebody listens. Nobody looks while the camera
/// is away: then this process captures nothing.
pub(super) fn look_out(plan: &CameraPlan, secrets: &Secrets, keep: &Keep, health: Arc<Health>) -> Heard {
    let (tell, told) = watch::channel(Said::Nothing);
    let mut twins = Twins::new(keep.encoder.session(), who());
    let (plan, secrets) = (plan.clone(), secrets.clone());
    let name = format!("twin-{}", plan.name.name);
    let watch = move || {
        let (mut notes, mut looked, mut due) = (None, Instant::now(), Instant::now() + LOOK.0);
        while !tell.is_closed() {
            thread::sleep(PAUSE);
            if looked.elapsed() >= STALE {
                twins.forget();
            }
            if Instant::now() >= due && health.is_online() {
                due = Instant::now() + LOOK.0 + LOOK.1.mul_f64(rand::random::<f64>());
                match look(&plan, &secrets, &mut notes, &mut twins) {
                    Ok(()) => looked = Instant::now(),
                    Err(NoNote::Passing(why)) => debug!(camera = %plan.name, "no look for other processes: {why}"),
                    Err(NoNote::Refused(why)) => {
                        twins.forget();
                        due = Instant::now() + REFUSED;
                        info!(camera = %plan.name, "not looking for other processes that capture this camera: {why}");
                    }
                }
            }
            let said = twins.said();
            tell.send_if_modified(|before| std::mem::replace(before, said.clone()) != said);
        }
    };
    if let Err(e) = thread::Builder::new().name(name).spawn(watch) {
        warn!("no thread that looks for other processes: {e}");
    }
    Heard(told)
}

fn look(plan: &CameraPlan, secrets: &Secrets, notes: &mut Option<Notes>, twins: &mut Twins) -> Result<(), NoNote> {
    let topic = &plan.spec.topic.name;
    if notes.is_none() {
        let group = format!("edgereel.capture/{}/{}", plan.name.namespace, plan.name.name);
        let opened = Notes::open(&plan.connection, secrets, &group, topic);
        *notes = Some(opened.map_err(|fault| NoNote::Passing(fault.message))?);
    }
    let Some(notes) = notes else { return Ok(()) };
    let found = notes.read()?;
    notes.write(&twins.look(found.as_deref()))
}

/// Says what is heard of others until `stop`. It stops nothing: which of them is to end is not known here.
pub(super) async fn tell(
    plan: &CameraPlan,
    Heard(mut told): Heard,
    health: &Health,
    keep: &Keep,
    stop: &CancellationToken,
) {
    let (camera, topic) = (&plan.name, &plan.spec.topic.name);
    let mut said = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            heard = told.changed() => if heard.is_err() { break },
        }
        let heard = told.borrow_and_update().clone();
        let message = match &heard {
            Said::Others(others) => Some(format!(
                "frames flow, but this camera is captured into topic {topic} by {others}, too: each frame stands there more \
                 than once; stop all but one, or give each a topic of its own"
            )),
            Said::Alone | Said::Nothing => None,
        };
        keep.metrics.captured_twice.set(i64::from(message.is_some()));
        match (&message, said) {
            (Some(message), false) => warn!(%camera, "{message}"),
            (None, true) if heard == Said::Alone => info!(%camera, "no other process captures this camera any more"),
            _ => {}
        }
        said = message.is_some();
        health.captured_twice(message);
    }
    keep.metrics.captured_twice.set(0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn twins(session: &str) -> Twins {
        Twins::new(session, format!("process {session}"))
    }

    fn others(who: &str) -> Said {
        Said::Others(who.into())
    }

    /// A note in Kafka, and who looks at it.
    #[derive(Default)]
    struct Kafka(Option<String>);

    impl Kafka {
        fn look(&mut self, twins: &mut Twins) {
            self.0 = Some(twins.look(self.0.as_deref()));
        }
    }

    #[test]
    fn two_at_once_are_told_and_one_that_goes_is_taken_back() {
        let (mut kafka, mut a, mut b) = (Kafka::default(), twins("a"), twins("b"));
        (0..5).for_each(|_| kafka.look(&mut a));
        assert_eq!(a.said(), Said::Alone);
        for _ in 0..=SAID_AFTER {
            kafka.look(&mut b);
            kafka.look(&mut a);
        }
        assert_eq!((a.said(), b.said()), (others("process b"), others("process a")));
        (0..=GONE_AFTER + 1).for_each(|_| kafka.look(&mut a));
        assert_eq!(a.said(), Said::Alone);
    }

    #[test]
    fn three_at_once_know_of_each_other() {
        let (mut kafka, mut a, mut b, mut c) = (Kafka::default(), twins("a"), twins("b"), twins("c"));
        for turn in 0..20 {
            kafka.look(&mut b);
            kafka.look(if turn % 2 == 0 { &mut c } else { &mut a });
            kafka.look(if turn % 2 == 0 { &mut a } else { &mut c });
        }
        assert_eq!(a.said(), others("process b, process c"));
    }

    #[test]
    fn a_pod_that_is_just_ending_says_nothing() {
        let (mut kafka, mut old, mut new) = (Kafka::default(), twins("old"), twins("new"));
        kafka.look(&mut old);
        for _ in 1..SAID_AFTER {
            kafka.look(&mut new);
            kafka.look(&mut old);
        }
        for _ in 0..10 {
            kafka.look(&mut new);
            assert_eq!((old.said(), new.said()), (Said::Alone, Said::Alone));
        }
    }

    #[test]
    fn what_is_not_known_any_more_is_not_said() {
        let (mut kafka, mut a, mut b) = (Kafka::default(), twins("a"), twins("b"));
        for _ in 0..10 {
            kafka.look(&mut b);
            kafka.look(&mut a);
        }
        a.forget();
        assert_eq!(a.said(), Said::Nothing);
        kafka.look(&mut a);
        assert_eq!(a.said(), Said::Alone);
    }

    #[test]
    fn one_that_dies_and_starts_again_and_again_is_told() {
        let (mut kafka, mut a) = (Kafka::default(), twins("a"));
        kafka.look(&mut a);
        for life in ["b", "c", "d"] {
            kafka.look(&mut twins(life));
            kafka.look(&mut a);
        }
        assert!(matches!(a.said(), Said::Others(_)));
    }

    #[test]
    fn what_is_no_note_is_nobodys() {
        let mut a = twins("a");
        for text in ["", "b", "b 1", "b one process 2", " 1 ", "\u{fffd}"] {
            (0..10).for_each(|_| drop(a.look(Some(text))));
            assert_eq!(a.said(), Said::Alone, "{text:?}");
        }
    }

    proptest! {
        /// Whoever looks when: one alone is never told of another, whatever stood there before, and though it may write in vain.
        #[test]
        fn nobody_sees_itself_or_one_that_is_gone(
            before in prop::option::of("[a-z]{1,4} [0-9]{1,3} process [0-9]"),
            written in prop::collection::vec(any::<bool>(), 1..80),
        ) {
            let (mut kafka, mut only) = (Kafka(before), twins("only"));
            for written in written {
                let note = only.look(kafka.0.as_deref());
                if written {
                    kafka.0 = Some(note);
                }
                prop_assert_eq!(only.said(), Said::Alone);
            }
        }

        /// As long as both look, in whatever order, both are told before long.
        #[test]
        fn two_that_look_are_both_told(order in prop::collection::vec(any::<bool>(), 60..100)) {
            let (mut kafka, mut a, mut b) = (Kafka::default(), twins("a"), twins("b"));
            let (mut told_a, mut told_b) = (false, false);
            for first in order {
                kafka.look(if first { &mut a } else { &mut b });
                kafka.look(if first { &mut b } else { &mut a });
                (told_a, told_b) = (told_a || a.said() != Said::Alone, told_b || b.said() != Said::Alone);
            }
            prop_assert!(told_a && told_b);
        }
    }
}
