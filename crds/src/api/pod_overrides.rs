//! `template.podOverrides`: a part of a pod's template, merged into the one that the operator builds.
//!
//! Kubernetes' own type, which is too large for a definition: the API server keeps it as it is, and the check that
//! `edgereel validate` and the operator share knows every field of it.

use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};

use k8s_openapi::api::core::v1::PodSpec;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::shape::{Field, Shape, Text, schema_of};

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

/// What nobody writes into a template: the API server fills it in.
const NOT_WRITTEN: [&str; 4] = ["managedFields", "creationTimestamp", "deletionTimestamp", "ephemeralContainers"];

static SHAPE: LazyLock<Result<Shape, String>> = LazyLock::new(|| {
    let mut schema = schema_of::<PodSpec>();
    // It is a part of one: containers need not be there.
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("required");
    }
    forget(&mut schema);
    let optional = |name: &str, shape: Shape| Field {
        name: name.into(),
        shape,
        required: false,
        description: String::new(),
        default: None,
    };
    let texts = || Shape::Dict(Box::new(Shape::Text(Text::default())));
    let metadata = Shape::Object(vec![optional("labels", texts()), optional("annotations", texts())]);
    Ok(Shape::Object(vec![optional("metadata", metadata), optional("spec", Shape::parse(&schema)?)]))
});

/// The shape of what a definition leaves open.
///
/// # Errors
/// The part of Kubernetes' schema that is none of our shapes.
pub(crate) fn shape() -> Result<Shape, String> {
    SHAPE.clone()
}

fn forget(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.retain(|name, _| !NOT_WRITTEN.contains(&name.as_str()));
            fields.values_mut().for_each(forget);
        }
        Value::Array(items) => items.iter_mut().for_each(forget),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{fields::take_unknown, problem::FieldPath};

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
        let unknown = take_unknown(&mut given, &shape().expect("a shape"), &FieldPath::of("o"));
        let unknown: Vec<String> = unknown.iter().map(|unknown| unknown.field.to_string()).collect();
        assert_eq!(unknown, ["o.spec.initContainers[0].envv", "o.spec.dnsConfg"]);
        let read: PodOverrides = serde_json::from_value(given).expect("readable");
        assert_eq!(read.spec.expect("a pod").init_containers.expect("one")[0].name, "first");
    }
}
