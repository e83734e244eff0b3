//! What workers say of themselves. A poller of its own asks them and keeps their answers; a reconcile reads what is there and
//! waits for nobody. Whoever has something to say that is worth a look has its resource woken.

use std::{
    collections::{HashMap, HashSet},
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

use crate::{
    backoff,
    controller::{
        context::Context,
        dereference::object_name,
        figures::figures_matter,
        observe::{PodView, view, worker_of},
    },
    wakes::Triggers,
};

/// What a worker answered, or why it did not.
pub type Answer = Result<ResourceReport, String>;

/// How long a status waits for a worker that was called a moment ago: as long as the worker has for its answer, and a little.
const AWAITED: Duration = Duration::from_secs(5);
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

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    uid: String,
    ip: String,
    ready: bool,
    kind: String,
    resource: ObjectName,
}

struct Entry {
    target: Target,
    /// Since when an answer is waited for that says more than the last.
    awaited: Option<Instant>,
    answer: Option<Arc<Answer>>,
    /// The answer for which the resource was last woken, and when that was.
    judged: Option<(Arc<Answer>, Instant)>,
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

    /// Notes what the workers of these pods have said last.
    pub fn tell(&self, namespace: &str, pods: &mut [PodView]) {
        let known = lock(&self.pods);
        for pod in pods {
            let name = ObjectName { namespace: namespace.into(), name: pod.name.clone() };
            let entry = known.get(&name).filter(|entry| entry.target.uid == pod.uid);
            pod.report = entry.and_then(|entry| entry.answer.as_deref().cloned());
        }
    }

    /// What the workers in these pods know of a connection.
    pub fn of_connection(&self, pods: &[ObjectName], connection: &ObjectName) -> Vec<ConnectionReport> {
        let known = lock(&self.pods);
        let reports = pods.iter().filter_map(|pod| known.get(pod)?.answer.as_deref()?.as_ref().ok());
        let told =
            |report: &ConnectionReport| (&report.namespace, &report.name) == (&connection.namespace, &connection.name);
        reports.flat_map(|report| report.connections.iter().filter(|report| told(report)).cloned()).collect()
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
        Some((entry.target.clone(), entry.answer.as_deref().is_some_and(Result::is_err)))
    }

    /// Notes an answer, and gives what follows from it.
    fn answered(&self, pod: &ObjectName, of: &Target, answer: Answer) -> News {
        let answer = Arc::new(answer.map(slim));
        let mut pods = lock(&self.pods);
        // Another has come in its place, or its readiness is another: it is called anew.
        let Some(entry) = pods.get_mut(pod).filter(|entry| entry.target == *of) else { return News::default() };
        let news = entry.answer.as_ref().is_none_or(|before| says_another(before, &answer));
        entry.unchanged = if news { 0 } else { entry.unchanged.saturating_add(1) };
        let was_awaited = entry.awaited.take().is_some();
        let matters = entry.judged.as_ref().is_none_or(|(before, at)| worth_a_look(before, &answer, at.elapsed()));
        let connections = entry.answer.as_ref().is_none_or(|before| of_connections(before) != of_connections(&answer));
        entry.answer = Some(answer.clone());
        if was_awaited || matters {
            entry.judged = Some((answer, Instant::now()));
        }
        News { resource: was_awaited || matters, connections, unchanged: entry.unchanged }
    }
}

#[cfg(test)]
impl Reports {
    /// The worker in a pod answers.
    pub(crate) fn hear(&self, pod: &ObjectName, answer: Answer) {
        let (target, _) = self.target(pod).expect("a worker to ask");
        self.answered(pod, &target, answer);
    }
}

/// What follows from an answer.
#[derive(Clone, Copy, Debug, Default)]
struct News {
    /// Its resource is to be looked at.
    resource: bool,
    /// What it says of the connections that it uses is another than before.
    connections: bool,
    /// So many answers in a row said nothing new.
    unchanged: u32,
}

/// What is said of a connection: its name, whether it was reached, whether the login works, why not, and the brokers.
type Said<'a> = (&'a str, bool, Option<bool>, Option<Reason>, &'a [String]);

/// What an answer says of connections, without their times.
fn of_connections(answer: &Answer) -> Vec<Said<'_>> {
    let all = answer.as_ref().map(|report| report.connections.as_slice()).unwrap_or_default();
    all.iter().map(|c| (c.name.as_str(), c.reached, c.login, c.reason, c.brokers.as_slice())).collect()
}

/// Whom to ask of a pod: a worker that runs, and is not about to end.
fn target(pod: &Pod) -> Option<Target> {
    let (kind, resource) = worker_of(pod)?;
    let PodView { uid, ip, ready, running, leaving, .. } = view(pod, &Default::default());
    let ip = ip.filter(|_| running && !leaving)?;
    Some(Target { uid, ip, ready, kind, resource })
}

/// What nobody reads here is not kept.
fn slim(report: ResourceReport) -> ResourceReport {
    ResourceReport { last_error: None, overview: None, ..report }
}

/// Whether a worker says another thing of how it fares than before.
fn says_another(before: &Answer, now: &Answer) -> bool {
    let essence = |all: &[Condition]| all.iter().map(|c| (c.kind, c.status, c.reason)).collect::<Vec<_>>();
    match (before, now) {
        (Ok(before), Ok(now)) => essence(&before.conditions) != essence(&now.conditions),
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
        if news.resource {
            triggers.wake(&target.kind, &target.resource);
        }
        if news.connections {
            triggers.wake_used(&target.kind, &target.resource, &context.caches.references);
        }
        let wait = backoff::wait(news.unchanged, rand::random());
        // Up to a fifth sooner or later, so that hundreds do not all come at once.
        let interval = context.settings.poll_interval.mul_f64(0.8 + 0.4 * rand::random::<f64>());
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
            conditions: vec![condition],
            last_error: None,
            connections: Vec::new(),
            overview: None,
            figures: Figures::new().count("framesCaptured", frames),
        })
    }

    /// Whether the resource is woken for each of these answers in turn.
    fn woken(reports: &Reports, answers: Vec<Answer>) -> Vec<bool> {
        let ask = |answer| {
            let (target, _) = reports.target(&name()).expect("a worker to ask");
            reports.answered(&name(), &target, answer).resource
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
        assert!(!reports.answered(&name(), &old, says(Reason::Running, 1)).resource);
        let mut views = [view(&pod("new", true), &Default::default())];
        reports.tell("lab", &mut views);
        assert!(views[0].report.is_none());
        assert_eq!(woken(&reports, vec![says(Reason::Running, 1)]), [true]);
        reports.tell("lab", &mut views);
        assert!(views[0].report.is_some());
        reports.retain(|_| false);
        assert!(reports.target(&name()).is_none());
    }
}
