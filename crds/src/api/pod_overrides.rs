//! `template.podOverrides`: a part of a pod's template, merged into the one that the operator builds.
//!
//! Kubernetes' own type, which is too large for a definition: the API server keeps it as it is, and the check that
//! `edgereel validate` and the operator share knows every field of it.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::api::core::v1::PodSpec;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The container that our program runs in.
pub const WORKER_CONTAINER: &str = "worker";

/// The part of a pod's template that takes the place of what the operator builds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodOverrides {
    /// Labels and annotations.
    #[serde(default, skip_serializing_if = "OverriddenMetadata::is_empty")]
    pub metadata: OverriddenMetadata,
    /// The pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Box<PodSpec>>,
}

/// What a template's metadata may have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverriddenMetadata {
    /// Labels of the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl OverriddenMetadata {
    fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }
}

impl PodOverrides {
    /// Whether they change nothing.
    pub fn is_empty(&self) -> bool {
        *self == PodOverrides::default()
    }
}

const TYPE: &str = "io.k8s.api.core.v1.PodTemplateSpec";

impl JsonSchema for PodOverrides {
    fn schema_name() -> Cow<'static, str> {
        "PodOverrides".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"title": TYPE, "type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{fields::take_unknown, problem::FieldPath, shape::Shape};

    #[test]
    fn every_field_of_a_pod_is_known_and_no_other() {
        let mut given = json!({
            "metadata": {"labels": {"a": "b"}},
            "spec": {
                "initContainers": [{"name": "first", "image": "i", "envv": []}],
                "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
                "volumes": [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}],
                "dnsConfg": {},
            },
        });
        let unknown = take_unknown(&mut given, &Shape::of::<PodOverrides>().expect("a shape"), &FieldPath::of("o"));
        let unknown: Vec<String> = unknown.iter().map(|unknown| unknown.field.to_string()).collect();
        assert_eq!(unknown, ["o.spec.initContainers[0].envv", "o.spec.dnsConfg"]);
        let read: PodOverrides = serde_json::from_value(given).expect("readable");
        assert_eq!(read.spec.expect("a pod").init_containers.expect("one")[0].name, "first");
    }
}
