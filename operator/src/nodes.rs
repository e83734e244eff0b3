//! Nodes that are lost: their kubelet says nothing any more. What runs there may run on, or not; Kubernetes cannot know.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    pin::pin,
    sync::Arc,
};

use futures::StreamExt;
use k8s_openapi::{api::core::v1::Node, jiff::Timestamp};
use kube::{ResourceExt, runtime::watcher::Event};
use tokio::sync::watch::{Receiver, Sender};
use tracing::warn;

use crate::{
    controller::observe::PodView,
    watch::{Scope, whole_cluster},
};

/// Puts pods of a node that is gone for good out of the way (source: Kubernetes' "Non-graceful node shutdown").
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";

/// Since when a node is lost, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// When Kubernetes gave it up.
    pub since: Option<Timestamp>,
}

/// The nodes that are lost. None are where nodes are not watched.
#[derive(Default)]
pub struct Nodes(Sender<BTreeMap<String, Lost>>);

impl Nodes {
    /// Notes on pods that their node is lost.
    pub fn tell(&self, pods: &mut [PodView]) {
        let lost = self.0.borrow();
        for pod in pods {
            pod.lost = pod.node.as_ref().and_then(|node| lost.get(node).copied());
        }
    }

    /// Hears of every change.
    pub fn hear(&self) -> Changes {
        let receiver = self.0.subscribe();
        let before = receiver.borrow().clone();
        Changes { receiver, before }
    }

    pub(crate) fn put(&self, lost: BTreeMap<String, Lost>) {
        self.0.send_if_modified(|known| {
            let news = *known != lost;
            for node in lost.keys().filter(|node| !known.contains_key(*node)) {
                warn!(node, "the node is lost: its kubelet says nothing any more");
            }
            *known = lost;
            news
        });
    }
}

/// The nodes that are lost or back, as they come.
pub struct Changes {
    receiver: Receiver<BTreeMap<String, Lost>>,
    before: BTreeMap<String, Lost>,
}

impl Changes {
    /// The nodes of the next change; never, once nobody watches.
    pub async fn news(&mut self) -> BTreeSet<String> {
        if self.receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        let now = self.receiver.borrow_and_update().clone();
        let all = now.keys().chain(self.before.keys());
        let changed = all.filter(|node| now.get(*node) != self.before.get(*node)).cloned().collect();
        self.before = now;
        changed
    }
}

/// Watches the nodes until it is dropped. Of each only what is said here is kept.
pub async fn watch(scope: Scope, nodes: Arc<Nodes>) {
    let mut events = pin!(whole_cluster::<Node>(&scope));
    // Of those that are listed anew, until all are there.
    let mut all: HashMap<String, Option<Lost>> = HashMap::new();
    let mut begun = None;
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                scope.reach.failed("Node", &error);
                continue;
            }
        };
        scope.reach.reached("Node");
        match event {
            Event::Init => begun = Some(HashMap::new()),
            Event::InitApply(node) => drop(begun.get_or_insert_default().insert(node.name_any(), lost(&node))),
            Event::InitDone => all = begun.take().unwrap_or_default(),
            Event::Apply(node) => drop(all.insert(node.name_any(), lost(&node))),
            Event::Delete(node) => drop(all.remove(&node.name_any())),
        }
        if begun.is_none() {
            nodes.put(all.iter().filter_map(|(name, lost)| Some((name.clone(), (*lost)?))).collect());
        }
    }
}

/// A node whose condition `Ready` is unknown is lost; one that says itself that it is not ready is not.
fn lost(node: &Node) -> Option<Lost> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status == "Unknown")?;
    Some(Lost { since: ready.last_transition_time.as_ref().map(|time| time.0) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(ready: &str) -> Node {
        let condition = json!({"type": "Ready", "status": ready, "lastTransitionTime": "2024-06-04T10:30:00Z"});
        serde_json::from_value(json!({"metadata": {"name": "edge-2"}, "status": {"conditions": [condition]}}))
            .expect("a node")
    }

    #[tokio::test]
    async fn a_node_is_lost_when_its_kubelet_is_silent_and_not_when_it_complains() {
        assert!(lost(&node("True")).is_none() && lost(&node("False")).is_none());
        let silent = lost(&node("Unknown")).expect("lost");
        assert_eq!(silent.since.map(|since| since.to_string()).as_deref(), Some("2024-06-04T10:30:00Z"));
        let nodes = Nodes::default();
        let mut changes = nodes.hear();
        nodes.put([("edge-2".to_owned(), silent)].into());
        assert_eq!(changes.news().await, ["edge-2".to_owned()].into());
        nodes.put(BTreeMap::new());
        assert_eq!(changes.news().await, ["edge-2".to_owned()].into(), "it is back");
    }
}
