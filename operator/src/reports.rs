//! What workers say of themselves. A poller of its own asks them and keeps their answers; a reconcile reads what is there and
//! waits for nobody. Whoever has something to say that is worth a look has its resource woken.
//!
//! [`voices`] is what one answer says of each resource that it is about.

mod voices;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    panic::resume_unwind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use edgereel_crds::{
    name::ObjectName,
    status::{Condition, Reason},
    worker_status::{ConnectionReport, ResourceReport},
};
use k8s_openapi::api::core::v1::Pod;
use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep},
};

pub use self::voices::{Answer, Whole};
use self::voices::{Key, Target, is_of, target};
use crate::{
    backoff,
    controller::{context::Context, dereference::object_name, figures::figures_matter, observe::PodView},
    references::Node,
    wakes::Triggers,
};

/// How long a status waits for a worker that was called a moment ago: as long as the worker has for its answer, and a little.
const AWAITED: Duration = Duration::from_secs(5);
/// A worker of several resources is asked this often: the kubelet does not say that one of them is no longer ready.
const OF_SEVERAL: Duration = Duration::from_secs(5);
/// What changed, but not enough to be looked at for, is looked at this often.
const REFRESH: Duration = Duration::from_secs(300);

/// The answers of all workers, by their pods.
#[derive(Default)]
pub struct Reports {
    /// Boxed: a table has room for about twice as many as there are.
    pods: Mutex<HashMap<ObjectName, Box<Entry>>>,
    /// Pods that have come, changed or gone since the poller looked.
    called: Mutex<HashSet<ObjectName>>,
    call: Notify,
}

struct Entry {
    target: Target,
    /// Since when an answer is waited for that says more than the last.
    awaited: Option<Instant>,
    answer: Option<Whole>,
    /// What was said of each resource when it was last woken for it, and when that was.
    judged: HashMap<Key, (Box<Answer>, Instant)>,
    /// Answers in a row that said nothing new.
    unchanged: u32,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reports {
    /// The watch has brought a pod, or that it is gone.
    pub fn brought(&self, pod: &Pod, gone: bool) {
        let name = object_name(pod);
        let target = target(pod).filter(|_| !gone);
        let mut pods = lock(&self.pods);
        if pods.get(&name).map(|entry| &entry.target) == target.as_ref() {
            return;
        }
        match target {
            Some(target) => {
                let known = pods.remove(&name).filter(|entry| entry.target.uid == target.uid);
                let (answer, judged) = known.map(|entry| (entry.answer, entry.judged)).unwrap_or_default();
                let entry = Entry { target, awaited: Some(Instant::now()), answer, judged, unchanged: 0 };
                pods.insert(name.clone(), Box::new(entry));
            }
            None => drop(pods.remove(&name)),
        }
        drop(pods);
        self.call(name);
    }

    /// Keeps only the pods that are still there.
    pub fn retain(&self, there: impl Fn(&ObjectName) -> bool) {
        let gone: Vec<ObjectName> = lock(&self.pods).keys().filter(|name| !there(name)).cloned().collect();
        for name in gone {
            lock(&self.pods).remove(&name);
            self.call(name);
        }
    }

    fn call(&self, pod: ObjectName) {
        lock(&self.called).insert(pod);
        self.call.notify_one();
    }

    /// Notes what the workers of these pods have said last of a resource.
    pub fn tell(&self, of: &Node, pods: &mut [PodView]) {
        let known = lock(&self.pods);
        let key = (of.kind.to_owned(), of.name.clone());
        for pod in pods {
            let name = ObjectName { namespace: of.name.namespace.clone(), name: pod.name.clone() };
            let entry = known.get(&name).filter(|entry| entry.target.uid == pod.uid);
            pod.report = entry.and_then(|entry| entry.target.voice(entry.answer.as_ref()?, &key));
        }
    }

    /// Whether the worker in a pod runs a resource; none where it has not answered.
    pub fn runs(&self, pod: &ObjectName, kind: &str, name: &ObjectName) -> Option<bool> {
        let known = lock(&self.pods);
        let all = known.get(pod)?.answer.as_ref()?.as_ref().ok()?;
        Some(all.iter().any(|report| is_of(report, &(kind.to_owned(), name.clone()))))
    }

    /// What the workers in these pods know of a connection, one word of each.
    pub fn of_connection(&self, pods: &[ObjectName], connection: &ObjectName) -> Vec<ConnectionReport> {
        let known = lock(&self.pods);
        let reports = pods.iter().filter_map(|pod| known.get(pod)?.answer.as_ref()?.as_ref().ok());
        let told =
            |report: &&ConnectionReport| (&report.namespace, &report.name) == (&connection.namespace, &connection.name);
        reports.filter_map(|all| all.iter().flat_map(|report| &report.connections).find(told).cloned()).collect()
    }

    /// How long to wait for what one of these pods is about to say: it came to run, or its readiness changed, and its last
    /// answer is from before that.
    pub fn awaited(&self, namespace: &str, pods: &[PodView]) -> Option<Duration> {
        let known = lock(&self.pods);
        let left = |pod: &PodView| {
            let name = ObjectName { namespace: namespace.into(), name: pod.name.clone() };
            AWAITED.checked_sub(known.get(&name)?.awaited?.elapsed()).filter(|left| !left.is_zero())
        };
        pods.iter().filter(|pod| pod.judges()).filter_map(left).max()
    }

    /// Whom to ask, and whether the last answer failed to come.
    fn target(&self, pod: &ObjectName) -> Option<(Target, bool)> {
        let pods = lock(&self.pods);
        let entry = pods.get(pod)?;
        Some((entry.target.clone(), entry.answer.as_ref().is_some_and(Result::is_err)))
    }

    /// Notes an answer, and gives what follows from it.
    fn answered(&self, pod: &ObjectName, of: &Target, answer: Whole) -> News {
        let answer = answer.map(|all| all.into_iter().map(slim).collect::<Vec<_>>());
        let mut pods = lock(&self.pods);
        // Another has come in its place, or its readiness is another: it is called anew.
        let Some(entry) = pods.get_mut(pod).filter(|entry| entry.target == *of) else { return News::default() };
        let was_awaited = entry.awaited.take().is_some();
        let (mut news, mut woken) = (false, Vec::new());
        let mut keys: BTreeSet<Key> = entry.judged.keys().cloned().chain(of.guests(&answer)).collect();
        keys.insert(of.key());
        for key in &keys {
            let before = entry.answer.as_ref().and_then(|answer| of.voice(answer, key));
            let now = of.voice(&answer, key);
            let comes_or_goes = before.is_some() != now.is_some();
            let differs = before.zip(now.as_ref()).is_some_and(|(before, now)| says_another(&before, now));
            news |= comes_or_goes || differs;
            let matters = match (&now, entry.judged.get(key)) {
                (Some(now), Some((before, at))) => worth_a_look(before, now, at.elapsed()),
                (now, before) => now.is_some() != before.is_some(),
            };
            if was_awaited || matters {
                match now {
                    Some(now) => drop(entry.judged.insert(key.clone(), (Box::new(now), Instant::now()))),
                    None => drop(entry.judged.remove(key)),
                }
                woken.push((key.clone(), comes_or_goes));
            }
        }
        entry.unchanged = if news { 0 } else { entry.unchanged.saturating_add(1) };
        let same = entry.answer.as_ref().is_some_and(|before| of_connections(before) == of_connections(&answer));
        let connections = if same { Vec::new() } else { keys.into_iter().collect() };
        entry.answer = Some(answer);
        News { woken, connections, unchanged: entry.unchanged }
    }
}

#[cfg(test)]
impl Reports {
    /// The worker in a pod answers.
    pub(crate) fn hear(&self, pod: &ObjectName, answer: Answer) {
        self.hear_all(pod, answer.map(|report| vec![report]));
    }

    /// The worker of several resources in a pod answers.
    pub(crate) fn hear_all(&self, pod: &ObjectName, answer: Whole) {
        let (target, _) = self.target(pod).expect("a worker to ask");
        self.answered(pod, &target, answer);
    }
}

/// What follows from an answer.
#[derive(Clone, Debug, Default)]
struct News {
    /// The resources that are to be looked at, and whether each has come or gone.
    woken: Vec<(Key, bool)>,
    /// Those of whose connections it says something else than before.
    connections: Vec<Key>,
    /// So many answers in a row said nothing new.
    unchanged: u32,
}

/// What is said of a connection: its name, whether it was reached, whether the login works, why not, and the brokers.
type Said<'a> = (&'a str, bool, Option<bool>, Option<Reason>, &'a [String]);

/// What an answer says of connections, without their times.
fn of_connections(answer: &Whole) -> Vec<Said<'_>> {
    let all = answer.iter().flatten().flat_map(|report| &report.connections);
    all.map(|c| (c.name.as_str(), c.reached, c.login, c.reason, c.brokers.as_slice())).collect()
}

/// What nobody reads here is not kept.
fn slim(report: ResourceReport) -> ResourceReport {
    ResourceReport { last_error: None, overview: None, ..report }
}

/// Whether a worker says another thing of how it fares than before.
fn says_another(before: &Answer, now: &Answer) -> bool {
    let essence = |all: &[Condition]| all.iter().map(|c| (c.kind, c.status, c.reason)).collect::<Vec<_>>();
    match (before, now) {
        (Ok(before), Ok(now)) => {
            (essence(&before.conditions), &before.revision) != (essence(&now.conditions), &now.revision)
        }
        (before, now) => before.is_ok() != now.is_ok(),
    }
}

/// Whether a resource is to be looked at for what its worker says now, after it was looked at for what it said before.
fn worth_a_look(before: &Answer, now: &Answer, ago: Duration) -> bool {
    let figures = || matches!((before, now), (Ok(before), Ok(now)) if figures_matter(&now.figures, &before.figures));
    says_another(before, now) || figures() || (ago >= REFRESH && before != now)
}

/// Asks all workers, each again and again, until it is dropped. A panic is handed on.
pub async fn poll(context: Arc<Context>, triggers: Triggers) {
    let mut followed: HashMap<ObjectName, (AbortHandle, Arc<Notify>)> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = context.reports.call.notified() => {
                let called = std::mem::take(&mut *lock(&context.reports.called));
                for pod in called {
                    if context.reports.target(&pod).is_none() {
                        if let Some((task, _)) = followed.remove(&pod) {
                            task.abort();
                        }
                        continue;
                    }
                    match followed.get(&pod) {
                        Some((_, nudge)) => nudge.notify_one(),
                        None => {
                            let nudge = Arc::new(Notify::new());
                            let task = follow(pod.clone(), context.clone(), triggers.clone(), nudge.clone());
                            followed.insert(pod, (tasks.spawn(task), nudge));
                        }
                    }
                }
            }
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    resume_unwind(error.into_panic());
                }
            }
        }
    }
}

/// Asks one worker: soon again after news, else every poll interval; one that does not answer later each time.
async fn follow(pod: ObjectName, context: Arc<Context>, triggers: Triggers, nudge: Arc<Notify>) {
    loop {
        let Some((target, doubtful)) = context.reports.target(&pod) else {
            nudge.notified().await;
            continue;
        };
        // Boxed: what it takes is there only while it asks.
        let answer = Box::pin(context.workers.ask(&target.ip, doubtful)).await;
        let failed = answer.is_err();
        let news = context.reports.answered(&pod, &target, answer);
        let references = context.caches.references();
        for ((kind, name), comes_or_goes) in &news.woken {
            triggers.wake(kind, name);
            if *comes_or_goes {
                // One that waits to take it in can.
                triggers.wake_hosts(kind, name, references);
            }
        }
        news.connections.iter().for_each(|(kind, name)| triggers.wake_used(kind, name, references));
        let wait = backoff::wait(news.unchanged, rand::random());
        // Up to a fifth sooner or later, so that hundreds do not all come at once.
        let interval = context.settings.poll_interval;
        let interval = if target.hosts() { interval.min(OF_SEVERAL) } else { interval };
        let interval = interval.mul_f64(0.8 + 0.4 * rand::random::<f64>());
        tokio::select! {
            () = sleep(if failed { wait } else { wait.min(interval) }) => {}
            () = nudge.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::{
        status::{ConditionStatus, ConditionType},
        worker_status::Figures,
    };
    use serde_json::json;

    use super::*;
    use crate::controller::observe::view;

    fn name() -> ObjectName {
        ObjectName { namespace: "lab".into(), name: "gate-camera-a".into() }
    }

    fn pod(uid: &str, ready: bool) -> Pod {
        let ready = if ready { "True" } else { "False" };
        let pod = json!({
            "metadata": {"name": name().name, "namespace": "lab", "uid": uid,
                "annotations": {"edgereel.dev/resource": "CameraStream/gate"}},
            "status": {"podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": ready}], "containerStatuses": [
                {"name": "worker", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}]}});
        serde_json::from_value(pod).expect("a pod")
    }

    fn says(reason: Reason, frames: u64) -> Answer {
        let condition = Condition {
            kind: ConditionType::Ready,
            status: ConditionStatus::True,
            reason,
            message: format!("{frames}"),
            last_transition_time: "2024-06-04T10:30:00Z".into(),
        };
        Ok(ResourceReport {
            kind: "CameraStream".into(),
            namespace: "lab".into(),
            name: "gate".into(),
            revision: None,
            conditions: vec![condition],
            last_error: None,
            connections: Vec::new(),
            overview: None,
            figures: Figures::new().count("framesCaptured", frames),
        })
    }

    /// Whether the resource is woken for each of these answers in turn.
    fn woken(reports: &Reports, answers: Vec<Answer>) -> Vec<bool> {
        let ask = |answer: Answer| {
            let (target, _) = reports.target(&name()).expect("a worker to ask");
            !reports.answered(&name(), &target, answer.map(|report| vec![report])).woken.is_empty()
        };
        answers.into_iter().map(ask).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_resource_is_woken_for_news_and_not_for_what_is_as_before() {
        let reports = Reports::default();
        reports.brought(&pod("u", true), false);
        let refused = || Err("refused".to_owned());
        let answers = vec![
            says(Reason::Running, 1000),
            says(Reason::Running, 1001),
            says(Reason::CapturedTwice, 1002),
            refused(),
            refused(),
            says(Reason::Running, 1003),
            says(Reason::Running, 2000),
        ];
        assert_eq!(woken(&reports, answers), [true, false, true, true, false, true, true]);
        tokio::time::advance(REFRESH).await;
        assert_eq!(woken(&reports, vec![says(Reason::Running, 2001)]), [true], "little by little it is told, too");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_awaited_when_a_pod_came_or_its_readiness_changed_but_not_for_ever() {
        let reports = Reports::default();
        let view = |ready| [view(&pod("u", ready), &Default::default())];
        for ready in [false, true] {
            reports.brought(&pod("u", ready), false);
            assert!(reports.awaited("lab", &view(ready)).is_some());
            assert_eq!(woken(&reports, vec![says(Reason::Running, 1)]), [true]);
            reports.brought(&pod("u", ready), false);
            assert_eq!(reports.awaited("lab", &view(ready)), None, "nothing changed");
        }
        reports.brought(&pod("u", false), false);
        tokio::time::advance(AWAITED).await;
        assert_eq!(reports.awaited("lab", &view(false)), None);
    }

    #[tokio::test]
    async fn what_one_pod_said_is_not_its_successors_word() {
        let reports = Reports::default();
        reports.brought(&pod("old", true), false);
        let (old, _) = reports.target(&name()).expect("a worker");
        reports.brought(&pod("new", true), false);
        assert!(reports.answered(&name(), &old, says(Reason::Running, 1).map(|one| vec![one])).woken.is_empty());
        let mut views = [view(&pod("new", true), &Default::default())];
        let of = Node { kind: "CameraStream", name: ObjectName { namespace: "lab".into(), name: "gate".into() } };
        reports.tell(&of, &mut views);
        assert!(views[0].report.is_none());
        assert_eq!(woken(&reports, vec![says(Reason::Running, 1)]), [true]);
        reports.tell(&of, &mut views);
        assert!(views[0].report.is_some());
        reports.retain(|_| false);
        assert!(reports.target(&name()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn of_several_resources_in_a_pod_those_are_woken_that_have_news() {
        let reports = Reports::default();
        let mut shared = pod("u", true);
        let annotations = shared.metadata.annotations.get_or_insert_default();
        annotations.insert("edgereel.dev/resource".into(), "CameraWorker/hall".into());
        reports.brought(&shared, false);
        let camera = |name: &str, reason| {
            let report = says(reason, 1).expect("a report");
            let status = if reason == Reason::Running { ConditionStatus::True } else { ConditionStatus::False };
            let conditions = report.conditions.into_iter().map(|c| Condition { status, ..c }).collect();
            ResourceReport { name: name.into(), conditions, ..report }
        };
        let woken = |answer: Whole| {
            let (target, _) = reports.target(&name()).expect("a worker to ask");
            let woken = reports.answered(&name(), &target, answer).woken;
            woken.into_iter().map(|((_, name), comes_or_goes)| (name.name, comes_or_goes)).collect::<Vec<_>>()
        };
        let both = |of_b| Ok(vec![camera("a", Reason::Running), camera("b", of_b)]);
        let [a, b, hall] = ["a", "b", "hall"].map(str::to_owned);
        let all = |change| vec![(a.clone(), change), (b.clone(), change), (hall.clone(), true)];
        assert_eq!(woken(both(Reason::Running)), all(true));
        assert_eq!(woken(both(Reason::Running)), []);
        assert_eq!(woken(both(Reason::CameraUnreachable)), [(b.clone(), false)]);
        assert_eq!(woken(Ok(vec![camera("a", Reason::Running)])), [(b.clone(), true)]);
        let said = |of: &str| {
            let mut views = [view(&shared, &Default::default())];
            let kind = if of == "hall" { "CameraWorker" } else { "CameraStream" };
            reports.tell(&Node { kind, name: ObjectName { namespace: "lab".into(), name: of.into() } }, &mut views);
            views[0].report.clone()
        };
        assert_eq!(said("a").and_then(Result::ok).map(|report| report.name), Some(a.clone()));
        assert_eq!(said("b"), None, "it does not run there");
        let together = said("hall").and_then(Result::ok).expect("a word of all").figures;
        assert_eq!((together.int("cameras"), together.int("camerasReady")), (Some(1), Some(1)));
        assert_eq!(woken(Err("refused".into())), [(a.clone(), false), (hall.clone(), false)]);
        assert_eq!(woken(Ok(vec![camera("a", Reason::CameraStalled)])), [(a, false), (hall, false)]);
        let none = said("hall").and_then(Result::ok).expect("a word of all").conditions.remove(0);
        assert_eq!((none.status, none.reason), (ConditionStatus::False, Reason::CameraStalled));
        assert!(none.message.starts_with("none of its 1 cameras is ready; CameraStream/a: "), "{}", none.message);
        // Where one rests and another is broken, the broken one has the word.
        woken(Ok(vec![camera("a", Reason::Suspended), camera("b", Reason::CameraUnreachable)]));
        let broken = said("hall").and_then(Result::ok).expect("a word of all").conditions.remove(0);
        assert_eq!(broken.reason, Reason::CameraUnreachable);
    }
}
