//! The CustomResourceDefinitions and the editors' JSON schema, made from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};
use serde_json::{Value, json};

use crate::{
    api::{
        declared::About,
        name::{API_VERSION, Kind},
    },
    check::MAX_NAME,
    document::METADATA,
};

/// The CustomResourceDefinitions, as the API server takes them without a warning.
pub fn crds() -> Vec<CustomResourceDefinition> {
    Kind::ALL.map(|kind| definition(kind.about())).into()
}

/// One kind's.
pub fn definition(about: About) -> CustomResourceDefinition {
    let mut crd = about.definition;
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
            tidy(schema);
            schema.x_kubernetes_validations.get_or_insert_default().push(name_rule());
        }
    }
    crd
}

/// What the check says of names, for the API server. One that was there before the rule has a status, and would be frozen by
/// a rule that refuses it: the API server asks at every write, also at those of the operator.
fn name_rule() -> ValidationRule {
    ValidationRule {
        rule: format!("has(self.status) || size(self.metadata.name) <= {MAX_NAME}"),
        message: Some(format!("a name has {MAX_NAME} characters at most")),
        ..ValidationRule::default()
    }
}

/// Takes out what the API server warns of or refuses, everywhere below `schema`.
fn tidy(schema: &mut JSONSchemaProps) {
    // Rust's integer formats are not OpenAPI's.
    if schema.format.as_deref().is_some_and(|f| f.starts_with("uint")) {
        schema.format = None;
    }
    if schema.x_kubernetes_int_or_string == Some(true) {
        // Takes the place of the two types, which kube leaves empty.
        schema.any_of = None;
        // With a default, null means the default; a value may not be null itself.
        if schema.default.is_some() {
            schema.nullable = None;
        }
    }
    let lists = [&mut schema.all_of, &mut schema.any_of, &mut schema.one_of];
    lists.into_iter().flatten().flatten().for_each(tidy);
    schema.properties.iter_mut().flat_map(|p| p.values_mut()).for_each(tidy);
    if let Some(JSONSchemaPropsOrBool::Schema(item)) = &mut schema.additional_properties {
        tidy(item);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => tidy(item),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(tidy),
        None => {}
    }
}

/// All CustomResourceDefinitions as YAML, for `kubectl apply -f -`.
pub fn crds_yaml() -> String {
    crds().iter().map(crd_yaml).collect::<Vec<_>>().join("---\n")
}

/// One CustomResourceDefinition as YAML.
pub fn crd_yaml(crd: &CustomResourceDefinition) -> String {
    let mut value = serde_json::to_value(crd).expect("a CRD is JSON");
    // The API server writes the status.
    if let Some(map) = value.as_object_mut() {
        map.remove("status");
    }
    serde_yaml::to_string(&value).expect("JSON is YAML")
}

/// One CustomResourceDefinition as a chart's template. Helm keeps it on uninstall: with a definition all its resources
/// would be deleted.
pub fn chart_yaml(crd: &CustomResourceDefinition) -> String {
    let mut kept = crd.clone();
    kept.metadata.annotations.get_or_insert_default().insert("helm.sh/resource-policy".into(), "keep".into());
    crd_yaml(&kept)
}

/// One JSON schema for all kinds, for editors (`yaml.schemas`, `# yaml-language-server: $schema=…`).
pub fn json_schema() -> Value {
    let branch = |kind: Kind| {
        let About { name, schema: mut spec, .. } = kind.about();
        plain(&mut spec);
        let metadata: serde_json::Map<String, Value> =
            METADATA.iter().map(|name| ((*name).to_owned(), metadata_field(name))).collect();
        json!({
            "title": name,
            "type": "object",
            "properties": {
                "apiVersion": {"const": API_VERSION},
                "kind": {"const": name},
                "metadata": {
                    "type": "object",
                    "properties": metadata,
                    "required": ["name"],
                    "additionalProperties": false,
                },
                "spec": spec,
                "status": {"type": "object"},
            },
            "required": ["apiVersion", "kind", "metadata", "spec"],
            "additionalProperties": false,
        })
    };
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Edgereel resources",
        "oneOf": Kind::ALL.map(branch),
    })
}

fn metadata_field(name: &str) -> Value {
    match name {
        "name" | "namespace" => json!({"type": "string"}),
        "labels" | "annotations" => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        _ => json!(true),
    }
}

/// Takes Kubernetes' own keywords out, which editors do not know, and has them underline fields that there are not: the types
/// themselves pass over such.
fn plain(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.retain(|key, _| !key.starts_with("x-kubernetes-"));
            // What is called `properties` may be a field of that name.
            let is_object = match map.get("type") {
                Some(Value::Array(types)) => types.iter().any(|kind| kind == "object"),
                kind => kind.is_some_and(|kind| kind == "object"),
            };
            if is_object && map.contains_key("properties") && !map.contains_key("additionalProperties") {
                map.insert("additionalProperties".into(), json!(false));
            }
            if map.get("format").and_then(Value::as_str).is_some_and(|f| f.starts_with("uint")) {
                map.remove("format");
            }
            map.values_mut().for_each(plain);
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crd_is_far_below_what_kubectl_apply_can_annotate() {
        for crd in crds() {
            let size = serde_json::to_string(&crd).expect("JSON").len();
            assert!(size < 128 * 1024, "{:?} has {size} bytes", crd.metadata.name);
        }
    }

    #[test]
    fn the_yaml_is_the_definitions() {
        let (documents, faults) = crate::document::yaml::parse(&crds_yaml());
        assert_eq!(faults, []);
        let stored: Vec<Value> = documents.iter().map(crate::document::yaml::Node::to_json).collect();
        let made: Vec<Value> = crds().iter().map(|crd| serde_json::to_value(crd).expect("JSON")).collect();
        assert_eq!(stored, made);
    }

    #[test]
    fn helm_finds_nothing_to_expand_in_the_charts_templates() {
        for crd in crds() {
            let text = chart_yaml(&crd);
            assert!(!text.contains("{{") && text.contains("helm.sh/resource-policy: keep"), "{text}");
        }
    }

    #[test]
    fn the_api_server_finds_nothing_to_warn_of() {
        for crd in crds() {
            let text = serde_json::to_string(&crd).expect("JSON");
            assert!(!text.contains("\"uint"), "an unknown format");
            assert!(!text.contains("\"anyOf\""), "a type that is not structural");
        }
    }

    #[test]
    fn each_kind_has_its_columns_its_category_and_its_short_name() {
        let short: Vec<_> = crds().into_iter().flat_map(|crd| crd.spec.names.short_names.unwrap_or_default()).collect();
        assert_eq!(short, ["kc", "cw", "cam", "fsink"]);
        for crd in crds() {
            assert_eq!(crd.spec.names.categories, Some(vec!["edgereel".to_owned()]));
            assert!(crd.spec.versions[0].additional_printer_columns.as_ref().is_some_and(|c| c.len() >= 3));
        }
    }
}
