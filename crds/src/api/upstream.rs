//! Kubernetes' own types in our kinds: their schemas without the descriptions, which would fill a CRD many times over.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};

/// The schema of one of Kubernetes' types. Its `title` is the type's name there, `io.k8s.api.core.v1.Affinity`: the
/// reference manual points to Kubernetes' own with it.
pub fn upstream<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(generator);
    let object = schema.ensure_object();
    strip(object);
    object.insert("title".into(), T::schema_name().into());
    schema
}

/// A list of one of Kubernetes' types.
pub fn upstream_list<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "array", "items": upstream::<T>(generator)})
}

/// Takes the descriptions out, here and everywhere below. A property that is called `description` stays.
fn strip(schema: &mut Map<String, Value>) {
    schema.remove("description");
    for (keyword, value) in schema.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                properties.values_mut().filter_map(Value::as_object_mut).for_each(strip);
            }
            ("items" | "additionalProperties", Value::Object(inner)) => strip(inner),
            ("allOf" | "anyOf" | "oneOf", Value::Array(branches)) => {
                branches.iter_mut().filter_map(Value::as_object_mut).for_each(strip);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration};
    use schemars::{JsonSchema, generate::SchemaSettings};

    use super::*;

    fn schema_text<T: JsonSchema>() -> String {
        let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
        serde_json::to_string(&upstream::<T>(&mut settings.into_generator())).expect("JSON")
    }

    #[test]
    fn a_type_of_kubernetes_keeps_its_fields_and_loses_its_descriptions() {
        let affinity = schema_text::<Affinity>();
        for kept in ["requiredDuringSchedulingIgnoredDuringExecution", "matchExpressions", "topologyKey"] {
            assert!(affinity.contains(kept), "{kept}");
        }
        for text in [affinity, schema_text::<Toleration>(), schema_text::<ResourceRequirements>()] {
            assert!(!text.contains("\"description\""), "{text}");
            assert!(text.len() < 16 * 1024, "{} bytes", text.len());
        }
    }
}
