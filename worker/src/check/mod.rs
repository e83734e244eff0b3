//! Looks once whether every resource will work, as people do with `curl -I`, `nc` and `touch`: [`camera`] dials,
//! [`kafka`] asks the brokers, [`disk`] tries the volume, [`archive`] the bucket. All at the same time, each within a time limit, and nothing is
//! changed: no topic is made, no group joined, no file left.

mod archive;
mod camera;
mod disk;
mod kafka;

use std::{future::Future, path::Path, time::Duration};

use edgereel_crds::{name::Kind, plan::Plan};
use edgereel_runtime::secrets::Secrets;
use futures::future::{BoxFuture, FutureExt};
use serde::Serialize;
use tokio::task::JoinSet;

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It works.
    Ok,
    /// It works, and somebody should look.
    Warn,
    /// It does not work.
    Fail,
}

/// What was found out about a part of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// As in `CameraStream/gate`.
    pub resource: String,
    /// `camera`, `kafka`, `topic`, `group`, `disk` or `bucket`.
    pub check: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found, and what to do.
    pub message: String,
}

/// What a question comes to.
type Answer = (Verdict, String);

/// What is asked about a part of a resource.
struct Question {
    resource: String,
    check: &'static str,
    answer: BoxFuture<'static, Answer>,
}

impl Question {
    fn new(resource: &str, check: &'static str, answer: impl Future<Output = Answer> + Send + 'static) -> Self {
        Question { resource: resource.to_owned(), check, answer: answer.boxed() }
    }
}

/// A time limit needs this much longer for those who keep it themselves.
const GRACE: Duration = Duration::from_millis(500);

/// Asks everything, and gives the findings in the plan's order. `told` hears how many of how many are done.
pub async fn check(
    plan: &Plan,
    secrets: &Secrets,
    storage_root: Option<&Path>,
    patience: Duration,
    mut told: impl FnMut(usize, usize),
) -> Vec<Finding> {
    let mut questions = Vec::new();
    let brokers = kafka::Brokers::of(plan, secrets, &mut questions);
    let root = storage_root.map(Path::to_owned);
    for plan in &plan.cameras {
        let resource = Kind::CameraStream.label(&plan.name);
        questions.push(Question::new(
            &resource,
            "camera",
            camera::ask(plan.clone(), secrets.clone(), root.clone(), patience),
        ));
        questions.push(Question::new(&resource, "topic", brokers.frames(plan)));
    }
    for sink in &plan.sinks {
        let resource = Kind::FrameSink.label(&sink.name);
        for topic in &sink.topics {
            questions.push(Question::new(&resource, "topic", brokers.read(sink, topic, plan)));
        }
        questions.push(Question::new(&resource, "group", brokers.group(sink)));
        questions.extend(brokers.letters(sink).map(|answer| Question::new(&resource, "topic", answer)));
        questions.push(Question::new(&resource, "disk", disk::ask(sink.clone(), storage_root.map(Path::to_owned))));
        if let Some(wanted) = &sink.spec.archive {
            let answer = archive::ask(sink.name.clone(), wanted.clone(), secrets.clone());
            questions.push(Question::new(&resource, "bucket", answer));
        }
    }
    let mut tasks = JoinSet::new();
    let total = questions.len();
    for (at, Question { resource, check, answer }) in questions.into_iter().enumerate() {
        tasks.spawn(async move {
            let answer = tokio::time::timeout(patience + GRACE, answer).await;
            let (verdict, message) = answer.unwrap_or_else(|_| {
                (Verdict::Fail, format!("no answer within {patience:?}: give it more time with --timeout"))
            });
            (at, Finding { resource, check, verdict, message })
        });
    }
    let mut found = Vec::with_capacity(total);
    told(0, total);
    while let Some(done) = tasks.join_next().await {
        // A panic has been told by its hook; the question then has no answer.
        found.extend(done.ok());
        told(found.len(), total);
    }
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, finding)| finding).collect()
}
