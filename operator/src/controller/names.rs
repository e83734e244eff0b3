//! What children are called, and the labels that find them again.

use std::collections::BTreeMap;

use edgereel_crds::name::ObjectName;
use kube::ResourceExt;

use super::managed::Managed;
use crate::hash::hash;

/// The operator, as field manager, event source and `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "edgereel-operator";
/// Selects everything that the operator made.
pub const MANAGED_SELECTOR: &str = "app.kubernetes.io/managed-by=edgereel-operator";
/// Selects everything else.
pub const NOT_MANAGED_SELECTOR: &str = "app.kubernetes.io/managed-by!=edgereel-operator";
/// On pods: the resource that they belong to, as in `FrameSink/gate-files`.
pub const RESOURCE_ANNOTATION: &str = "edgereel.dev/resource";
/// On a resource and its pods: another value starts the pods anew.
pub const RESTART_ANNOTATION: &str = edgereel_crds::document::RESTART;
/// On a resource: lost nodes, with commas between, whose pods of this resource are given up, so that others come elsewhere.
pub const FORCE_MOVE_ANNOTATION: &str = "edgereel.dev/force-move";
/// On pods: a hash of what the worker does.
pub const CONFIG_CHECKSUM: &str = "edgereel.dev/config-checksum";
/// On pods: a hash of their template, by which those of the declared revision are known.
pub const REVISION_ANNOTATION: &str = "edgereel.dev/revision";
/// On pods: a hash of the Secrets' values.
pub const SECRETS_CHECKSUM: &str = "edgereel.dev/secrets-checksum";
/// On pods for several resources: what stands for the configuration that the kubelet was last told to look at.
pub const FOLLOWS_ANNOTATION: &str = "edgereel.dev/follows";
/// On a copy of another namespace's Secrets: the connection that they are of.
pub const COPIED_ANNOTATION: &str = "edgereel.dev/copied-from";
/// On children: a hash of what the operator last applied.
pub const APPLIED_ANNOTATION: &str = "edgereel.dev/applied";

/// A StatefulSet's name has room for the ordinal and the revision in labels of 63 characters.
const MAX_WORKLOAD: usize = 52;

/// The names of one resource's children. They end in what the kind says, cameras' in `-camera`, sinks' in
/// `-sink`: two resources never share one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Of the Deployment or StatefulSet, the Service, the PodDisruptionBudget; also the label `app.kubernetes.io/instance`.
    pub workload: String,
    component: &'static str,
}

impl Names {
    /// The names for a resource.
    pub fn of<K: Managed>(resource: &K) -> Self {
        Names::new(K::COMPONENT.unwrap_or_default(), &resource.name_any())
    }

    /// The names for a resource of the kind `K` with this name.
    pub fn named<K: Managed>(name: &str) -> Self {
        Names::new(K::COMPONENT.unwrap_or_default(), name)
    }

    /// The names for a resource of which the children's names end in `component`.
    fn new(component: &'static str, name: &str) -> Self {
        let workload = format!("{}-{component}", label(name, MAX_WORKLOAD - component.len() - 1));
        Names { workload, component }
    }

    /// Of the ConfigMap with some content.
    pub fn config(&self, hash: &str) -> String {
        format!("{}-config-{}", self.workload, &hash[..8.min(hash.len())])
    }

    /// Of the ConfigMap that pods follow.
    pub fn followed(&self) -> String {
        format!("{}-config", self.workload)
    }

    /// Of the Secret with the values of a connection of another namespace.
    pub fn copy(&self, connection: &ObjectName) -> String {
        format!("{}-kafka-{}", self.workload, &hash(connection.to_string().as_bytes())[..8])
    }

    /// The labels that select the pods. They never change: a Deployment's selector cannot.
    pub fn selector(&self) -> BTreeMap<String, String> {
        [
            ("app.kubernetes.io/name", "edgereel"),
            ("app.kubernetes.io/component", self.component),
            ("app.kubernetes.io/instance", &self.workload),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    /// The labels of every child.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.selector();
        labels.insert("app.kubernetes.io/managed-by".into(), MANAGER.into());
        labels.insert("app.kubernetes.io/part-of".into(), "edgereel".into());
        labels
    }
}

/// A resource's name as a DNS label that begins with a letter (a Service needs one), at most `most` long. A name that is
/// none gets a hash, so that two of them stay apart.
fn label(name: &str, most: usize) -> String {
    let fits = name.len() <= most
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits {
        return name.to_owned();
    }
    let hash = &hash(name.as_bytes())[..8];
    let plain: String = name.chars().map(|c| if c == '.' { '-' } else { c }).take(most - 11).collect();
    let plain = plain.trim_end_matches('-');
    let first = if plain.starts_with(|c: char| c.is_ascii_lowercase()) { "" } else { "x-" };
    format!("{first}{plain}-{hash}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use edgereel_crds::check::overrides::OWN_LABELS;

    use super::*;

    #[test]
    fn a_plain_name_stays_readable() {
        let names = Names::new("camera", "gate");
        assert_eq!((&*names.workload, &*names.config("0123456789")), ("gate-camera", "gate-camera-config-01234567"));
        assert_eq!(Names::new("sink", "gate").workload, "gate-sink");
    }

    #[test]
    fn no_label_of_ours_is_anybody_elses_to_set() {
        let labels = Names::new("camera", "gate").labels();
        assert_eq!(labels.keys().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(OWN_LABELS));
    }

    #[test]
    fn every_name_becomes_a_service_name_that_no_other_has() {
        let long = "a".repeat(253);
        let longer = format!("{}b", "a".repeat(252));
        let names = ["0cam", "a.b", "a-b", "a.b.c", "x-0cam", &long, &longer, "-", "9"];
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            let workload = Names::new("sink", name).workload;
            assert!(edgereel_crds::check::is_label(&workload), "{name}: {workload}");
            assert!(workload.starts_with(|c: char| c.is_ascii_lowercase()), "{name}: {workload}");
            assert!(workload.len() <= MAX_WORKLOAD, "{name}: {workload}");
            assert!(seen.insert(workload.clone()), "{name}: {workload}");
        }
    }
}
