//! A resource of ours as the API server gives it: read leniently, since its definition may be another version's.

use std::{borrow::Cow, fmt::Debug};

use edgereel_crds::{
    declared::Declared,
    fields::{Unknown, shape, take_unknown},
    problem::FieldPath,
};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Resource,
    api::ObjectMeta,
    core::{PartialObjectMeta, error_boundary::InvalidObject, object::HasSpec},
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use serde_json::Value;

use crate::hash::hash_of;

/// A stored resource: read, or what keeps it from being read. One that cannot be read does not keep a list of them from being
/// read.
#[derive(Clone, Debug)]
pub struct Stored<K>(
    /// The resource.
    pub Result<K, InvalidObject>,
    /// What it has besides.
    pub Besides,
);

/// What is known of a stored resource beside what could be read.
#[derive(Clone, Debug, Default)]
pub struct Besides {
    /// The fields of its spec that this version does not know. Whatever the resource asks for else is acted on.
    pub unknown: Vec<Unknown>,
    /// A hash of its whole spec. A definition that comes or goes changes specs, and no generation.
    pub spec: String,
}

impl<'de, K: Declared + DeserializeOwned> Deserialize<'de> for Stored<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        let mut besides = Besides::default();
        if let Some(spec) = object.get_mut("spec") {
            besides.spec = hash_of(spec);
            besides.unknown = take_unknown(spec, shape::<<K as HasSpec>::Spec>(), &FieldPath::of("spec"));
        }
        match K::deserialize(&object) {
            Ok(resource) => Ok(Stored(Ok(resource), besides)),
            Err(error) => {
                let partial: PartialObjectMeta<K> = serde_json::from_value(object).map_err(D::Error::custom)?;
                let invalid = InvalidObject { error: error.to_string(), metadata: partial.metadata };
                Ok(Stored(Err(invalid), besides))
            }
        }
    }
}

impl<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>> Resource for Stored<K> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(dt: &()) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &()) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &()) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &()) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|invalid| &invalid.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|invalid| &mut invalid.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::CameraStream;
    use serde_json::json;

    use super::*;

    fn stored(change: impl FnOnce(&mut Value)) -> Stored<CameraStream> {
        let mut object = json!({
            "apiVersion": "edgereel.dev/v1alpha1", "kind": "CameraStream", "metadata": {"name": "gate"},
            "spec": {"source": {"synthetic": {}}, "topic": {"name": "T"}, "kafka": {"connectionRef": {"name": "k"}}},
        });
        change(&mut object["spec"]);
        serde_json::from_value(object).expect("an object with metadata")
    }

    #[test]
    fn a_field_of_a_newer_version_is_named_and_everything_else_is_read() {
        let plain = stored(|_| ());
        let newer = stored(|spec| {
            spec["flash"] = json!({"when": "dark"});
            spec["source"]["synthetic"]["seed"] = json!(7);
            spec["topic"]["partitions"] = json!(3);
        });
        let unknown: Vec<String> = newer.1.unknown.iter().map(|unknown| unknown.field.to_string()).collect();
        assert_eq!(unknown, ["spec.source.synthetic.seed", "spec.flash"]);
        assert_eq!(newer.0.expect("readable").spec.topic.partitions, 3);
        assert_ne!(plain.1.spec, newer.1.spec, "whoever compares sees that something came");
        assert!(plain.1.unknown.is_empty());
    }

    #[test]
    fn one_that_asks_for_what_nobody_here_knows_is_malformed_and_keeps_its_name() {
        let pigeon = stored(|spec| spec["source"] = json!({"carrierPigeon": {}}));
        assert_eq!(pigeon.meta().name.as_deref(), Some("gate"));
        assert!(pigeon.0.expect_err("not readable").error.contains("carrierPigeon"));
    }
}
