//! Where each workload stands in the roll-outs, and whose turn it is.
//!
//! Nothing is remembered here that the cluster does not know: each reconcile says where its workload stands, by what the
//! cluster shows. Until it has heard of all, the board gives no turn.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::{Timestamp, Zoned};

use super::{settings::RolloutSettings, stamp::Fared};
use crate::{metrics::Metrics, references::Node, wakes::Triggers};

/// Who comes before whom: by the number that their annotation has, then those that are ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// `edgereel.dev/rollout-order`.
    pub order: i64,
    /// How its pods fare.
    pub fares: Fared,
}

/// Where a workload stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody has said since this operator started.
    Unknown,
    /// It has no pods that roll-outs are about.
    Apart,
    /// Its pods are of this operator revision from the beginning on.
    UpToDate,
    /// Its pods are of an older one.
    Waiting(Rank),
    /// Its turn has come: its image is fetched, or its pods are replaced.
    Rolling,
    /// Its new pods have only just become ready.
    Fresh,
    /// Its new pods work.
    Settled,
    /// Its new pods do not, in the words of who says so.
    Failed(String),
}

impl State {
    fn name(&self) -> Option<&'static str> {
        match self {
            State::Unknown | State::Apart => None,
            State::Waiting(_) => Some("waiting"),
            State::Rolling | State::Fresh => Some("rolling"),
            State::UpToDate | State::Settled => Some("up-to-date"),
            State::Failed(_) => Some("failed"),
        }
    }

    fn is_under_way(&self) -> bool {
        matches!(self, State::Rolling | State::Fresh | State::Failed(_))
    }
}

/// Why a turn has not come.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// The operator has just started, and does not know of all yet.
    Starting,
    /// Others are before it.
    Turn,
    /// The window is closed, until then.
    Window(Option<Zoned>),
    /// One has failed: its name and its words.
    Halted(String),
}

/// Whether a turn has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It has.
    Go,
    /// It has not.
    Wait(Why, Progress),
}

/// How far a fleet is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many it has.
    pub all: usize,
    /// How many are up to date.
    pub done: usize,
    /// How many are at it.
    pub under_way: usize,
}

#[derive(Clone, Debug)]
struct Member {
    fleet: usize,
    state: State,
}

/// The board.
pub struct Board {
    settings: RolloutSettings,
    metrics: Arc<Metrics>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    members: HashMap<Node, Member>,
    unknown: usize,
    waiting: usize,
    /// The fleets whose roll-out was halted when that was looked at last.
    halted: BTreeSet<usize>,
    /// Whom to wake, by their namespace; none: all.
    triggers: Vec<(Option<String>, Triggers)>,
}

impl Board {
    /// A board on which nobody is yet.
    pub fn new(settings: RolloutSettings, metrics: Arc<Metrics>) -> Self {
        Board { settings, metrics, inner: Mutex::default() }
    }

    /// How roll-outs go.
    pub fn settings(&self) -> &RolloutSettings {
        &self.settings
    }

    /// Has those of a namespace, or of all, woken by these when their turn has come.
    pub fn wakes_by(&self, namespace: Option<String>, triggers: Triggers) {
        self.lock().triggers.push((namespace, triggers));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is such a resource: no turn is given before it has said where it stands.
    pub fn expect(&self, node: &Node) {
        let mut inner = self.lock();
        if !inner.members.contains_key(node) {
            inner.put(&self.metrics, node, Some(Member { fleet: 0, state: State::Unknown }));
        }
    }

    /// A resource says where it stands.
    pub fn note(&self, node: &Node, fleet: usize, state: State) {
        let mut inner = self.lock();
        self.change(&mut inner, node, Some(Member { fleet, state }));
    }

    /// A resource is gone.
    pub fn forget(&self, node: &Node) {
        self.change(&mut self.lock(), node, None);
    }

    /// Nothing can be known of a resource, and the rest is not to wait for it.
    pub fn give_up(&self, node: &Node) {
        let mut inner = self.lock();
        if inner.members.get(node).is_some_and(|member| member.state == State::Unknown) {
            self.change(&mut inner, node, Some(Member { fleet: 0, state: State::Apart }));
        }
    }

    /// Asks for a turn. One that was given stays given until its resource says something else.
    pub fn ask(&self, node: &Node, fleet: usize, rank: Rank, now: Timestamp) -> Answer {
        let mut inner = self.lock();
        if inner.members.get(node).is_some_and(|member| member.state.is_under_way()) {
            return Answer::Go;
        }
        self.change(&mut inner, node, Some(Member { fleet, state: State::Waiting(rank) }));
        let view = View::new(&inner, &self.settings, fleet);
        if let Err(why) = view.turn(&inner, node, now) {
            return Answer::Wait(why, view.progress);
        }
        self.change(&mut inner, node, Some(Member { fleet, state: State::Rolling }));
        Answer::Go
    }

    /// How far a fleet is.
    pub fn progress(&self, fleet: usize) -> Progress {
        View::new(&self.lock(), &self.settings, fleet).progress
    }

    fn change(&self, inner: &mut Inner, node: &Node, member: Option<Member>) {
        let nobody_knew = inner.unknown > 0;
        let fleet = member.as_ref().map(|member| member.fleet);
        let after = member.as_ref().map(|member| member.state.clone());
        let before = inner.put(&self.metrics, node, member);
        let same = before.as_ref().map(|member| &member.state) == after.as_ref();
        if (same && before.as_ref().map(|member| member.fleet) == fleet) || inner.unknown > 0 || inner.waiting == 0 {
            return;
        }
        let mut fleets: Vec<usize> = match nobody_knew {
            // The last of whom nothing was known has kept all waiting.
            true => inner.members.values().map(|member| member.fleet).collect(),
            false => before.iter().map(|member| member.fleet).chain(fleet).collect(),
        };
        fleets.sort_unstable();
        fleets.dedup();
        fleets.into_iter().for_each(|fleet| self.wake(inner, fleet, node, nobody_knew));
    }

    /// Wakes those whose turn has come, and all that wait when a roll-out halts or goes on, or when all are known at last:
    /// they say so. Not the one by which it is known.
    fn wake(&self, inner: &mut Inner, fleet: usize, by: &Node, all: bool) {
        let now = Timestamp::now();
        let view = View::new(inner, &self.settings, fleet);
        let halted = view.halted();
        let turns = all || halted != inner.halted.contains(&fleet);
        let due = |node: &&&Node| **node != by && (turns || view.turn(inner, node, now).is_ok());
        let woken: Vec<Node> = view.waiting.iter().filter(due).map(|node| (*node).clone()).collect();
        woken.iter().for_each(|node| inner.wake(node));
        match halted {
            true => inner.halted.insert(fleet),
            false => inner.halted.remove(&fleet),
        };
    }
}

impl Inner {
    fn put(&mut self, metrics: &Metrics, node: &Node, member: Option<Member>) -> Option<Member> {
        let is = |member: &Option<Member>, test: fn(&State) -> bool| member.as_ref().is_some_and(|m| test(&m.state));
        let unknown = |member: &Option<Member>| usize::from(is(member, |state| *state == State::Unknown));
        let waiting = |member: &Option<Member>| usize::from(is(member, |state| matches!(state, State::Waiting(_))));
        let (more_unknown, more_waiting) = (unknown(&member), waiting(&member));
        if let Some(Member { fleet, state }) = &member {
            metrics.rollout(*fleet, state.name(), 1);
        }
        let before = match member {
            Some(member) => self.members.insert(node.clone(), member),
            None => self.members.remove(node),
        };
        if let Some(Member { fleet, state }) = &before {
            metrics.rollout(*fleet, state.name(), -1);
        }
        self.unknown = self.unknown + more_unknown - unknown(&before);
        self.waiting = self.waiting + more_waiting - waiting(&before);
        before
    }

    fn wake(&self, node: &Node) {
        let here = |namespace: &Option<String>| namespace.as_ref().is_none_or(|name| *name == node.name.namespace);
        for (_, triggers) in self.triggers.iter().filter(|(namespace, _)| here(namespace)) {
            triggers.wake(node.kind, &node.name);
        }
    }
}

/// A fleet as it is at one moment.
struct View<'a> {
    settings: &'a RolloutSettings,
    fleet: usize,
    progress: Progress,
    /// Whether a workload has come through.
    proven: bool,
    failures: Vec<(&'a Node, &'a str)>,
    /// In their order.
    waiting: Vec<&'a Node>,
}

impl<'a> View<'a> {
    fn new(inner: &'a Inner, settings: &'a RolloutSettings, fleet: usize) -> Self {
        let (mut progress, mut proven, mut failures, mut waiting) = (Progress::default(), false, vec![], vec![]);
        for (node, member) in inner.members.iter().filter(|(_, member)| member.fleet == fleet) {
            progress.all += usize::from(member.state.name().is_some());
            progress.under_way += usize::from(member.state.is_under_way());
            match &member.state {
                State::Unknown | State::Apart | State::Rolling | State::Fresh => {}
                State::UpToDate => progress.done += 1,
                State::Settled => {
                    progress.done += 1;
                    proven = true;
                }
                State::Failed(words) => failures.push((node, words.as_str())),
                State::Waiting(rank) => waiting.push((*rank, node)),
            }
        }
        waiting.sort_unstable();
        failures.sort_unstable();
        let waiting = waiting.into_iter().map(|(_, node)| node).collect();
        View { settings, fleet, progress, proven, failures, waiting }
    }

    fn halted(&self) -> bool {
        self.failures.len() >= self.settings.pace(self.fleet).halt_after_failures
    }

    /// Whether it is the turn of one that waits.
    fn turn(&self, inner: &Inner, node: &Node, now: Timestamp) -> Result<(), Why> {
        let pace = self.settings.pace(self.fleet);
        if inner.unknown > 0 {
            return Err(Why::Starting);
        }
        if let Some((failed, words)) = self.failures.first().filter(|_| self.halted()) {
            return Err(Why::Halted(format!("{}/{}: {words}", failed.kind, failed.name)));
        }
        if let Some(window) = &pace.window {
            window.open(now).map_err(Why::Window)?;
        }
        // One goes before all others.
        let most = if self.proven { pace.max_unavailable.of(self.progress.all) } else { 1 };
        let free = most.saturating_sub(self.progress.under_way);
        match self.waiting.iter().take(free).any(|next| *next == node) {
            true => Ok(()),
            false => Err(Why::Turn),
        }
    }
}
