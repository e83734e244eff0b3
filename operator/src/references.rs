//! Who refers to whom: resources, Secrets and ConfigMaps, each way. The watches keep it, so that nobody has to search all resources.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use edgereel_crds::{declared::Declared, name::ObjectName, secret_uses::Source};
use kube::core::object::HasSpec;

/// What a Secret is called here, beside the kinds.
pub const SECRET: &str = "Secret";
/// What a ConfigMap is called here.
pub const CONFIG_MAP: &str = "ConfigMap";

/// A resource, a Secret or a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace and name.
    pub name: ObjectName,
}

impl Node {
    /// A resource of the kind `K`.
    pub fn of<K: Declared>(name: &ObjectName) -> Self {
        Node { kind: K::NAME, name: name.clone() }
    }
}

/// What is referred to, and whether what that uses is used by way of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edge {
    to: Node,
    inherits: bool,
}

/// All references that are known.
#[derive(Default)]
pub struct References(Mutex<Graph>);

#[derive(Default)]
struct Graph {
    from: HashMap<Node, Vec<Edge>>,
    to: HashMap<Node, BTreeSet<Node>>,
}

impl References {
    fn lock(&self) -> MutexGuard<'_, Graph> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up what a resource refers to now.
    pub fn put<K: Declared>(&self, of: &ObjectName, resource: &K) {
        let there = |namespace: Option<String>, kind, name: String| Node {
            kind,
            name: ObjectName { namespace: namespace.unwrap_or_else(|| of.namespace.clone()), name },
        };
        let here = |kind, name: String| there(None, kind, name);
        let spec = HasSpec::spec(resource);
        let named = K::references(spec).into_iter();
        let named = named.map(|r| Edge { to: there(r.namespace, r.kind, r.name), inherits: r.inherits });
        let values = K::secrets(spec).into_keys().map(|source| match source {
            Source::Secret(name) => here(SECRET, name),
            Source::ConfigMap(name) => here(CONFIG_MAP, name),
        });
        let values = values.map(|to| Edge { to, inherits: false });
        self.lock().set(Node::of::<K>(of), named.chain(values).collect());
    }

    /// Whether anything refers to it.
    pub fn is_target(&self, node: &Node) -> bool {
        self.lock().to.contains_key(node)
    }

    /// Forgets what a resource refers to: it is gone, or cannot be read.
    pub fn remove(&self, source: &Node) {
        self.lock().set(source.clone(), Vec::new());
    }

    /// The resources of a kind that refer to something.
    pub fn sources(&self, kind: &str) -> Vec<ObjectName> {
        self.lock().from.keys().filter(|node| node.kind == kind).map(|node| node.name.clone()).collect()
    }

    /// Those that refer to something themselves.
    pub fn sources_of(&self, target: &Node) -> BTreeSet<Node> {
        self.lock().to.get(target).cloned().unwrap_or_default()
    }

    /// All that is referred to.
    pub fn all_targets(&self) -> Vec<Node> {
        self.lock().to.keys().cloned().collect()
    }

    /// The resources or Secrets of a kind that are referred to.
    pub fn targets(&self, kind: &str) -> Vec<Node> {
        self.lock().to.keys().filter(|node| node.kind == kind).cloned().collect()
    }

    /// All that a change of `target` concerns: those that refer to it, and those that refer to them.
    pub fn concerned(&self, target: &Node) -> BTreeSet<Node> {
        self.lock().upwards(target, |_| true)
    }

    /// Those that use `target`: they refer to it, or to one by way of which they use it.
    pub fn users(&self, target: &Node) -> BTreeSet<Node> {
        self.lock().upwards(target, |edge| edge.inherits)
    }

    /// What a resource uses: what it refers to, and what it uses by way of that.
    pub fn used(&self, source: &Node) -> HashSet<Node> {
        let graph = self.lock();
        let (mut found, mut open) = (HashSet::new(), vec![(source.clone(), true)]);
        while let Some((node, inherits)) = open.pop() {
            let edges = graph.from.get(&node).filter(|_| inherits);
            for edge in edges.into_iter().flatten() {
                if found.insert(edge.to.clone()) {
                    open.push((edge.to.clone(), edge.inherits));
                }
            }
        }
        found
    }
}

impl Graph {
    fn set(&mut self, source: Node, edges: Vec<Edge>) {
        for old in self.from.remove(&source).unwrap_or_default() {
            if let Some(sources) = self.to.get_mut(&old.to) {
                sources.remove(&source);
                if sources.is_empty() {
                    self.to.remove(&old.to);
                }
            }
        }
        for edge in &edges {
            self.to.entry(edge.to.clone()).or_default().insert(source.clone());
        }
        if !edges.is_empty() {
            self.from.insert(source, edges);
        }
    }

    /// Everything from which a way leads to `target`; all but the way's last step has to be `passable`.
    fn upwards(&self, target: &Node, passable: impl Fn(&Edge) -> bool) -> BTreeSet<Node> {
        let (mut found, mut open) = (BTreeSet::new(), vec![target.clone()]);
        while let Some(node) = open.pop() {
            for source in self.to.get(&node).into_iter().flatten() {
                let mut edges = self.from.get(source).into_iter().flatten().filter(|edge| edge.to == node);
                if (node == *target || edges.any(&passable)) && found.insert(source.clone()) {
                    open.push(source.clone());
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::{CameraStream, FrameSink, KafkaConnection};
    use serde_json::{Value, json};

    use super::*;

    fn name(name: &str) -> ObjectName {
        ObjectName { namespace: "lab".into(), name: name.into() }
    }

    fn put<K: Declared + serde::de::DeserializeOwned>(references: &References, of: &str, spec: Value) {
        let resource =
            json!({"apiVersion": "edgereel.dev/v1alpha1", "kind": K::NAME, "metadata": {"name": of}, "spec": spec});
        references.put::<K>(&name(of), &serde_json::from_value(resource).expect("a resource"));
    }

    fn names(nodes: impl IntoIterator<Item = Node>) -> Vec<String> {
        let mut names: Vec<String> = nodes.into_iter().map(|node| node.name.name).collect();
        names.sort();
        names
    }

    fn references() -> References {
        let references = References::default();
        let key = |key: &str| json!({"name": "login", "key": key});
        put::<KafkaConnection>(
            &references,
            "kafka",
            json!({"bootstrapServers": ["a:1"], "sasl": {"mechanism": "PLAIN", "usernameSecretRef": key("u"), "passwordSecretRef": key("p")}}),
        );
        put::<KafkaConnection>(&references, "other", json!({"bootstrapServers": ["b:1"]}));
        let camera =
            json!({"source": {"synthetic": {}}, "topic": {"name": "T"}, "kafka": {"connectionRef": {"name": "kafka"}}});
        put::<CameraStream>(&references, "gate", camera);
        let sink = |more: Value| {
            let mut spec = json!({"from": {"streamRef": {"name": "gate"}}, "output": {"jpegFiles": {}},
                "storage": {"volumeClaimTemplate": {"size": "1Gi"}}});
            spec.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
            spec
        };
        put::<FrameSink>(&references, "files", sink(json!({})));
        put::<FrameSink>(&references, "own", sink(json!({"kafka": {"connectionRef": {"name": "other"}}})));
        references
    }

    #[test]
    fn a_secret_concerns_all_on_the_way_from_its_connection_to_the_sinks() {
        let login = Node { kind: SECRET, name: name("login") };
        assert_eq!(names(references().concerned(&login)), ["files", "gate", "kafka", "own"]);
    }

    #[test]
    fn a_connection_is_used_by_its_cameras_and_by_sinks_that_have_none_of_their_own() {
        let references = references();
        let node = |of| Node::of::<KafkaConnection>(&name(of));
        assert_eq!(names(references.users(&node("kafka"))), ["files", "gate"]);
        assert_eq!(names(references.users(&node("other"))), ["own"]);
        assert_eq!(names(references.used(&Node::of::<FrameSink>(&name("files")))), ["gate", "kafka"]);
        assert_eq!(names(references.used(&Node::of::<FrameSink>(&name("own")))), ["gate", "other"]);
    }

    #[test]
    fn what_is_gone_or_refers_to_something_else_is_forgotten() {
        let references = references();
        let kafka = Node::of::<KafkaConnection>(&name("kafka"));
        references.remove(&Node::of::<CameraStream>(&name("gate")));
        assert_eq!(names(references.users(&kafka)), [""; 0]);
        references.remove(&Node::of::<FrameSink>(&name("files")));
        references.remove(&Node::of::<FrameSink>(&name("own")));
        references.remove(&kafka);
        references.remove(&Node::of::<KafkaConnection>(&name("other")));
        let graph = references.lock();
        assert!(graph.from.is_empty() && graph.to.is_empty(), "nothing is kept");
    }
}
