//! One reconcile's part in a roll-out: whether its pods are to be replaced now, or stay as they are for a while.

use std::time::Duration;

use edgereel_crds::{
    resource_status::ResourceStatus,
    status::{ConditionStatus, ConditionType, Reason},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::core::object::HasStatus;

use super::{
    board::{Answer, Progress, Rank, State, Why},
    pull::{self, Pull},
    settings::Pace,
    stamp::{self, Fared, Pins, Rolled, Stamp},
};
use crate::{
    controller::{
        apply::Place,
        build::pod,
        context::Context,
        dereference::{Found, object_name},
        managed::Managed,
        observe::{self, PodView, Rollout},
        verdict::Further,
        workload::{Runtime, Workload},
    },
    references::Node,
    settings::Settings,
};

/// On a resource: a whole number; those with smaller ones come first. Without it: 0.
pub const ORDER_ANNOTATION: &str = "edgereel.dev/rollout-order";

/// New pods that are not well by then, in seconds, have failed.
const WITHIN: i64 = 300;
/// What waits for a window looks again at least so often, in seconds.
const LOOK: i64 = 600;

/// What one reconcile does.
pub struct Turn {
    /// What is built.
    pub workload: Workload,
    /// With which settings.
    pub settings: Settings,
    /// The workload itself stays as it is: what it was built from cannot be built any longer.
    pub keeps: bool,
    /// What the status says of it.
    pub word: Further,
    /// When to look again.
    pub again: Option<Duration>,
    /// There is nothing to say yet: the operator does not know of all resources, and looks at this one again when it does.
    pub silent: bool,
    fleet: usize,
    state: State,
    pulls: Vec<Pod>,
}

impl Turn {
    /// Whether it builds with these settings, and not with those of before.
    pub fn is_of(&self, settings: &Settings) -> bool {
        Pins::of(&self.settings) == Pins::of(settings)
    }
}

/// A workload as it is, and as it would be if nobody had to wait.
struct Look<'a> {
    workload: &'a Workload,
    settings: &'a Settings,
    live: &'a observe::Live,
    stamp: Stamp,
    rollout: Rollout,
    pods: Vec<PodView>,
    now: Timestamp,
}

fn word(status: ConditionStatus, reason: Reason, message: impl Into<String>) -> Further {
    Further { kind: ConditionType::UpToDate, status, reason, message: message.into() }
}

fn up_to_date() -> Further {
    word(ConditionStatus::True, Reason::UpToDate, "what the operator builds has reached the pods")
}

/// Which pods a workload would have.
fn revision(workload: &Workload, settings: &Settings) -> Option<String> {
    observe::revision(&pod::template(workload, settings))
}

/// Decides what a reconcile does. `workload` is what it would do if nobody had to wait.
///
/// # Errors
/// The API server did not answer.
pub async fn take<K: Managed>(
    resource: &K,
    found: &Found,
    workload: Workload,
    place: Place<'_>,
    context: &Context,
) -> Result<Turn, kube::Error> {
    let (settings, board) = (&context.settings, &context.board);
    let node = Node::of::<K>(&object_name(resource));
    let fleet =
        board.settings().fleet(&node.name.namespace, resource.meta().labels.as_ref().unwrap_or(&Default::default()));
    let live = observe::live(place, |_| true);
    let (stamp, rollout) = (Stamp::of(&live), observe::rollout(&live));
    let pods = observe::pods(&place.caches.pods.of(place.owner), &rollout);
    let look = Look { workload: &workload, settings, live: &live, stamp, rollout, pods, now: Timestamp::now() };
    let fresh = Stamp::new(&workload, &context.operator_revision, settings);
    let current = look.stamp.operator == fresh.operator;
    let now = |stamp: Stamp, state, word, again| Turn {
        workload: Workload { stamp: stamp.annotations(), ..workload.clone() },
        settings: settings.clone(),
        keeps: false,
        word,
        again,
        silent: false,
        fleet,
        state,
        pulls: Vec::new(),
    };
    if matches!(workload.runtime, Runtime::Batch(_)) {
        return Ok(Turn { workload: workload.clone(), ..now(fresh, State::Apart, up_to_date(), None) });
    }
    if workload.pods() == 0 || look.rollout.desired == 0 {
        let state = if workload.pods() == 0 { State::Apart } else { State::UpToDate };
        return Ok(now(fresh, state, up_to_date(), None));
    }
    let rolled = look.stamp.rolled.filter(|_| current);
    if look.rollout.declared == revision(&workload, settings) {
        let Judged { state, rolled, word, again } = judge(rolled, &look, board.settings().pace(fleet));
        return Ok(now(Stamp { rolled, ..fresh }, state, word, again));
    }
    let edited = match &look.stamp.declared {
        Some(declared) => Some(declared) != fresh.declared.as_ref(),
        // Built by an operator that did not note it.
        None => resource.meta().generation > HasStatus::status(resource).and_then(ResourceStatus::observed_generation),
    };
    if edited && (current || look.stamp.pins.is_none()) {
        let state = match rolled.map(|rolled| rolled.from) {
            None => State::UpToDate,
            Some(None) => State::Settled,
            Some(Some(_)) => State::Rolling,
        };
        return Ok(now(Stamp { rolled, ..fresh }, state, up_to_date(), None));
    }

    // What a roll-out broke is mended without waiting: that costs nobody a frame.
    let fares = look.fares();
    let broken = look.stamp.rolled.and_then(|rolled| rolled.from).filter(|from| !current && fares > *from);
    let pulls = if broken.is_some() { Vec::new() } else { look.pulls() };
    let begun = !place.caches.pods.pulling_for(place.owner).is_empty() && look.has_begun(&pulls, place);
    let rank = Rank { order: order(resource), fares };
    let answer = match broken.is_some() || begun {
        true => Answer::Go,
        false => board.ask(&node, fleet, rank, look.now),
    };
    let silent = matches!(answer, Answer::Wait(Why::Starting, _));
    let (word, state, again, pulls) = match answer {
        Answer::Go => match pull::fetch(&pulls, place).await? {
            Pull::Done => {
                let from = Some(broken.unwrap_or(fares));
                let stamp = Stamp { rolled: Some(Rolled { at: look.now, from }), ..fresh };
                let word =
                    word(ConditionStatus::False, Reason::RolloutInProgress, "its turn has come: its pods are replaced");
                return Ok(now(stamp, State::Rolling, word, None));
            }
            Pull::Under => {
                let message = "its turn has come: the image is fetched to its node; until then its pods go on";
                (word(ConditionStatus::False, Reason::RolloutInProgress, message), State::Rolling, None, pulls)
            }
            Pull::Failed(reason, words) => {
                let message = format!("the image was tried on its node first, and its pods go on: {words}");
                (word(ConditionStatus::False, reason, message), State::Failed(words), None, pulls)
            }
        },
        Answer::Wait(why, progress) => {
            let again = match &why {
                Why::Window(Some(opening)) => Some(wait(opening.timestamp().duration_since(look.now))),
                Why::Starting | Why::Turn | Why::Window(None) | Why::Halted(_) => None,
            };
            (waiting(&why, progress), State::Waiting(rank), again, Vec::new())
        }
    };
    Ok(look.as_before(
        resource,
        found,
        edited,
        &fresh,
        Turn { word, state, again, silent, pulls, ..now(Stamp::default(), State::Unknown, up_to_date(), None) },
    ))
}

impl Turn {
    /// What was decided is done.
    ///
    /// # Errors
    /// The API server refused, or did not answer.
    pub async fn done<K: Managed>(&self, resource: &K, place: Place<'_>, context: &Context) -> Result<(), kube::Error> {
        if !matches!(self.state, State::Waiting(_)) {
            context.board.note(&Node::of::<K>(&object_name(resource)), self.fleet, self.state.clone());
        }
        pull::tidy(&self.pulls, place).await
    }
}

impl Look<'_> {
    fn judges(&self) -> impl Iterator<Item = &PodView> {
        self.pods.iter().filter(|pod| pod.judges())
    }

    fn fares(&self) -> Fared {
        stamp::fared(&self.rollout, self.judges().filter(|pod| pod.running).count())
    }

    /// The pods that fetch the image, unless it is the one that runs.
    fn pulls(&self) -> Vec<Pod> {
        let pulls = pull::pods(self.workload, self.settings, &pull::nodes(&self.pods));
        let image = stamp::image(self.live);
        let same = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.containers.first()?.image.clone()) == image;
        if pulls.iter().any(same) { Vec::new() } else { pulls }
    }

    fn has_begun(&self, pulls: &[Pod], place: Place<'_>) -> bool {
        let there = place.caches.pods.pulling_for(place.owner);
        there.iter().any(|known| pulls.iter().any(|pull| pull.metadata.name == known.metadata.name))
    }

    /// What is built while the turn has not come: the same as before, with what was edited since.
    fn as_before<K: Managed>(&self, resource: &K, found: &Found, edited: bool, fresh: &Stamp, turn: Turn) -> Turn {
        let Some(pins) = &self.stamp.pins else { return Turn { keeps: true, ..turn } };
        let settings = pins.with(self.settings);
        let Ok(Some(workload)) = resource.validate(found, &settings) else { return Turn { keeps: true, ..turn } };
        if !edited && revision(&workload, &settings) != self.rollout.declared {
            return Turn { keeps: true, ..turn };
        }
        let stamp = Stamp { declared: fresh.declared.clone(), ..self.stamp.clone() };
        Turn { workload: Workload { stamp: stamp.annotations(), ..workload }, settings, ..turn }
    }
}

fn order(resource: &impl kube::ResourceExt) -> i64 {
    resource.annotations().get(ORDER_ANNOTATION).and_then(|order| order.trim().parse().ok()).unwrap_or_default()
}

/// How long to wait, not a moment too short.
fn wait(left: SignedDuration) -> Duration {
    left.clamp(SignedDuration::ZERO, SignedDuration::from_secs(LOOK)).unsigned_abs() + Duration::from_millis(500)
}

fn waiting(why: &Why, Progress { all, done, under_way }: Progress) -> Further {
    let far = format!("{done} of {all} are up to date, {under_way} under way");
    let (reason, message) = match why {
        Why::Starting => {
            (Reason::RolloutWaiting, "the operator has just started, and looks at all resources first".into())
        }
        Why::Turn => (Reason::RolloutWaiting, format!("a change of the operator's waits for its turn: {far}")),
        Why::Window(Some(opening)) => {
            let opening = opening.strftime("%Y-%m-%d %H:%M %Z");
            (
                Reason::RolloutWaiting,
                format!("a change of the operator's waits for its maintenance window, {opening}: {far}"),
            )
        }
        Why::Window(None) => (
            Reason::RolloutWaiting,
            "a change of the operator's waits for a maintenance window that never comes".into(),
        ),
        Why::Halted(words) => {
            let message =
                format!("a change of the operator's is halted, and goes on once this is mended: {words}; {far}");
            (Reason::RolloutHalted, message)
        }
    };
    word(ConditionStatus::False, reason, message)
}

struct Judged {
    state: State,
    rolled: Option<Rolled>,
    word: Further,
    again: Option<Duration>,
}

/// Whether pods that are as they should be have come through.
fn judge(rolled: Option<Rolled>, look: &Look<'_>, pace: &Pace) -> Judged {
    let judged = |state, word| Judged { state, rolled, word, again: None };
    let Some(turn) = rolled else { return judged(State::UpToDate, up_to_date()) };
    let trouble = look.judges().find_map(|pod| pod.trouble.clone());
    let failed = |(reason, words): (Reason, String)| {
        judged(State::Failed(words.clone()), word(ConditionStatus::False, reason, words))
    };
    let Some(from) = turn.from else {
        // Much may befall a pod afterwards; these are the image's.
        let ours = |reason| matches!(reason, Reason::ImagePullFailed | Reason::PodCrashing);
        return match trouble.filter(|(reason, _)| ours(*reason)) {
            Some(trouble) => failed(trouble),
            None => judged(State::Settled, up_to_date()),
        };
    };
    let settled = || Judged { rolled: Some(Rolled { from: None, ..turn }), ..judged(State::Settled, up_to_date()) };
    if let Some(trouble) = trouble.filter(|_| from != Fared::Down) {
        return failed(trouble);
    }
    let running = look.judges().filter(|pod| pod.running).count();
    let desired = usize::try_from(look.rollout.desired).unwrap_or_default();
    let well = match from {
        Fared::Ready => look.rollout.done(),
        Fared::Running | Fared::Down => look.rollout.observed && running >= desired,
    };
    if well {
        let since = look.judges().filter_map(|pod| pod.ready_since).max().unwrap_or(turn.at).max(turn.at);
        let pause = SignedDuration::try_from(pace.pause_between).unwrap_or(SignedDuration::MAX);
        let left = pause.saturating_sub(look.now.duration_since(since));
        return match left.is_positive() {
            true => Judged { again: Some(wait(left)), ..judged(State::Fresh, up_to_date()) },
            false => settled(),
        };
    }
    let left = WITHIN - look.now.duration_since(turn.at).as_secs();
    if left > 0 {
        let word = word(ConditionStatus::False, Reason::RolloutInProgress, "its new pods are not ready yet");
        let again = Some(Duration::from_secs(left.unsigned_abs()));
        return Judged { again, ..judged(State::Rolling, word) };
    }
    match from {
        // It was no better before.
        Fared::Down => settled(),
        Fared::Ready | Fared::Running => {
            let words = format!("its new pods are not well {} minutes after they were made", WITHIN / 60);
            failed((Reason::RolloutInProgress, words))
        }
    }
}

/// What the status of a paused resource says of its pods.
pub fn of_paused(workload: &Workload, settings: &Settings, rollout: &Rollout) -> Further {
    match rollout.declared == revision(workload, settings) {
        true => up_to_date(),
        false => word(ConditionStatus::False, Reason::Paused, "a change waits for the end of the pause"),
    }
}
