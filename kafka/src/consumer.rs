//! A group's records, read by one thread that owns the consumer and polls it.
//!
//! All that crosses to the writer is [`Event`], and [`Command`] back. The writer may be slow (a full disk): then
//! partitions are paused and polling goes on, so that the group never gives this worker up for being busy.
//!
//! # How partitions are handed over
//!
//! 1. The group asks for them (or the writer stops), and [`Event::Revoked`] goes to the writer. Polling goes on; records
//!    that still come are the next owner's.
//! 2. The writer makes durable what it has written, and commits it as it always does: the group stays in its generation
//!    until the partitions are let go, so the commit cannot go out under the next one.
//! 3. The writer finalises its files and answers with [`Command::HandedOver`]. Only then does the generation end and are
//!    the partitions let go.
//!
//! Nobody waits for ever: after [`HANDOVER_TIME`] the generation ends without the writer, whose [`Tenure`] then stops
//! it from renaming and committing. When partitions are *lost* (the session expired, another owner may be at work
//! already) the generation ends first and nothing is committed.
//!
//! # Two protocols
//!
//! In the classic one the group takes all partitions from all members, and gives all anew. In the newer one (KIP-848) it
//! asks each member for those that it is to lose, and adds others later. Both look the same from here: what a member has
//! is handed over as a whole, and taken up as a whole; [`given`] knows the difference. So a change of the group costs a flush, and
//! what is known of an assignment (its generation, its state, its memory) belongs to one assignment in both.
//!
//! # The map
//!
//! [`polled`] is the thread and its stages, [`taking_up`] what happens between the group's gift and the first record,
//! [`start`] decides where reading begins, by what the group committed ([`mark`]) and what the sink's folder remembers
//! ([`earlier`]). [`partitions`] is what is assigned, [`ends`] looks after it on timers. [`messages`] is what crosses to the
//! writer, [`tenure`] its right to write, and [`budget`] what may wait for it. [`configure`] sets librdkafka up; [`native`] and
//! [`questions`] are its events and requests. [`behind`] looks at a group from outside, [`notes`] uses
//! one that has no members.

pub mod behind;
pub mod budget;
mod configure;
mod context;
pub mod earlier;
mod ends;
mod given;
pub mod mark;
mod messages;
mod native;
pub mod notes;
mod partitions;
mod polled;
mod questions;
pub mod start;
mod taking_up;
pub mod tenure;

use std::{
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use edgereel_crds::{
    frame_sink::{GroupProtocol, OnOffsetLost, StartFrom},
    status::Reason,
};
use rdkafka::ClientConfig;

pub use self::messages::{Assigned, Begun, Command, Commit, Event, ReadTo, Record, TopicPartition};
use self::{configure::configure, earlier::Earlier, native::Waker, polled::Polled, tenure::Tenure};
pub(super) use self::{native::elements_of, questions::describe};
use super::client::{Context, KafkaFault};

/// How long the writer may take to flush and commit when partitions are asked back.
pub const HANDOVER_TIME: Duration = Duration::from_secs(15);

/// Which records to read, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The topics.
    pub topics: Vec<String>,
    /// The group.
    pub group: String,
    /// How the group shares the partitions among its members.
    pub protocol: GroupProtocol,
    /// This worker's lasting identity in the group: a restart within the session timeout gets its partitions back
    /// without a rebalance.
    pub instance: String,
    /// Where to begin without a committed offset.
    pub start_from: StartFrom,
    /// What to do when the committed offset is gone.
    pub on_offset_lost: OnOffsetLost,
    /// What the sink has read so far, as its own folder says. The writer adds to it.
    pub earlier: Arc<Mutex<Earlier>>,
    /// Other workers of the sink may have some of the partitions.
    pub shared: bool,
    /// Read only when all partitions of all topics are assigned to this worker.
    pub whole: bool,
    /// Bytes of records that may wait for the writer.
    pub memory: usize,
}

/// The consumer's thread, as the writer sees it.
pub struct Consumer {
    commands: mpsc::Sender<Command>,
    waker: Waker,
    tenure: Tenure,
    thread: JoinHandle<()>,
}

impl Consumer {
    /// Starts reading. `config` is the connection's ([`super::client::client_config`]); `send` takes the events and is
    /// called on the consumer's thread; it says false when nobody listens any more, and the consumer then closes.
    pub fn start(
        mut config: ClientConfig,
        context: Context,
        settings: Settings,
        send: impl Fn(Event) -> bool + Send + Sync + 'static,
    ) -> Result<Self, KafkaFault> {
        configure(&mut config, &settings);
        let tenure = Tenure::default();
        let (commands, inbox) = mpsc::channel();
        let waker = Waker::default();
        let subject = context.subject().group(&settings.group).topic(&settings.topics.join(", "));
        let polled = Polled {
            config,
            context: context.about(subject),
            settings,
            tenure: tenure.clone(),
            send: Arc::new(send),
            inbox,
            waker: waker.clone(),
        };
        // The first consumer is made here, so that a wrong setting is the caller's error.
        let first = polled.open()?;
        let thread = thread::Builder::new()
            .name("consumer".into())
            .spawn(move || polled.run(first))
            .map_err(|e| KafkaFault::passing(Reason::InternalError, format!("cannot start a thread: {e}")))?;
        Ok(Consumer { commands, waker, tenure, thread })
    }

    /// Sends a command; without effect when the consumer has ended.
    pub fn command(&self, command: Command) {
        // Its end was told as an event.
        let _ = self.commands.send(command);
        self.waker.wake();
    }

    /// The right to write, for leases.
    pub fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    /// Lets the thread end, without a hand-over if it was not closed before, and waits for so long at most. True when it
    /// has ended.
    pub fn join(self, within: Duration) -> bool {
        let Consumer { commands, waker, thread, .. } = self;
        drop(commands);
        waker.wake();
        let deadline = Instant::now() + within;
        while !thread.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        thread.is_finished()
    }
}

/// Takes the events; false when nobody listens any more.
type Listener = Arc<dyn Fn(Event) -> bool + Send + Sync>;
