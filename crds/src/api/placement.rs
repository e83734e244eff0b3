//! Where a workload runs: node names, labels, affinity, tolerations.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, NodeSelectorTerm, Toleration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{
    units::Duration,
    upstream::{upstream, upstream_list},
};

/// Labels that every node has, and mostly all with the same value: they choose no machine.
const EVERYWHERE: [&str; 2] = ["kubernetes.io/os", "kubernetes.io/arch"];

/// The CEL rule for what has to stay where its data is. It stands on a spec with `storage` and `placement`.
pub(crate) const PINNED_RULE: &str = "!has(self.storage.hostPath) || (has(self.placement) && \
((has(self.placement.nodes) && size(self.placement.nodes) > 0) || \
(has(self.placement.nodeSelector) && size(self.placement.nodeSelector) > \
('kubernetes.io/os' in self.placement.nodeSelector ? 1 : 0) + \
('kubernetes.io/arch' in self.placement.nodeSelector ? 1 : 0)) || \
(has(self.placement.affinity) && has(self.placement.affinity.nodeAffinity) && \
has(self.placement.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution))))";

/// Which machines of a cluster may run the workload. For Kubernetes: `edgereel run` runs where it is started.
///
/// Everything that is given has to hold at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Nodes by their names (the label `kubernetes.io/hostname`); any one of them. Where none of them exists or has room,
    /// the condition `Ready` has the reason `Unschedulable`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253)))]
    pub nodes: Vec<String>,
    /// Labels that the node has to have. `kubernetes.io/os` and `kubernetes.io/arch` alone choose no node: they do not do for a
    /// `hostPath`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Finer rules, as a pod has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "upstream::<Affinity>")]
    pub affinity: Option<Affinity>,
    /// Taints of nodes that do not keep the workload away, as a pod has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "upstream_list::<Toleration>")]
    pub tolerations: Vec<Toleration>,
    /// How long a node that is lost is waited for before the pod is moved to another (`tolerationSeconds` of the taints
    /// `not-ready` and `unreachable`). Default: 30 s for a camera; for a sink, which mostly has its disk there, Kubernetes' own 5
    /// minutes. Kubernetes itself takes 40 s or so to give a node up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub move_after: Option<Duration>,
}

impl Placement {
    /// Whether it keeps the workload on machines that it names: what lies on a node's own disk is found again.
    pub fn pins(&self) -> bool {
        let chooses = |key: &str| !EVERYWHERE.contains(&key);
        let narrow = |term: &NodeSelectorTerm| {
            let fields = term.match_fields.as_ref().is_some_and(|fields| !fields.is_empty());
            fields || term.match_expressions.iter().flatten().any(|expression| chooses(&expression.key))
        };
        let required = |affinity: &Affinity| {
            let node = affinity.node_affinity.as_ref();
            let required = node.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
            // One term is enough for a node.
            required.is_some_and(|required| required.node_selector_terms.iter().all(narrow))
        };
        !self.nodes.is_empty()
            || self.node_selector.keys().any(|key| chooses(key))
            || self.affinity.as_ref().is_some_and(required)
    }

    /// Whether a node could be in both places, as far as their names say.
    pub fn may_share_node(&self, other: &Placement) -> bool {
        self.nodes.is_empty() || other.nodes.is_empty() || self.nodes.iter().any(|node| other.nodes.contains(node))
    }
}
