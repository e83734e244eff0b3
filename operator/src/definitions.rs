//! The definitions of our kinds that the API server has: they may be of an older version than this operator, or of a newer one.
//!
//! They are read as the API server publishes them for everybody (OpenAPI), which takes no right of its own. What it does not
//! say is not known, and nothing depends on it: an operator that cannot read them works as it does.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use edgereel_crds::{
    fields::Unknown,
    name::API_VERSION,
    problem::{FieldPath, Step},
};
use http::Request;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use serde_json::Value;
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::{kinds::Kinds, metrics::Metrics};

/// How often they are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(300);
/// A field that they do not have may have come since they were read.
const AGAIN: Duration = Duration::from_secs(10);

/// The schemas of the kinds, by kind.
type Schemas = HashMap<String, Value>;

/// A field that is not known here, and what its definition says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The field.
    pub field: FieldPath,
    /// The version that it came with.
    pub since: Option<String>,
}

/// The definitions as they were last read; read when somebody asks for what they do not have.
#[derive(Default)]
pub struct Definitions(Mutex<Option<(Instant, Arc<Schemas>)>>);

impl Definitions {
    /// Those fields of a resource that somebody has set: not those that the API server put in, because their definition has
    /// a default.
    pub async fn set_by_somebody(&self, kind: &str, unknown: &[Unknown], client: &Client) -> Vec<Named> {
        if unknown.is_empty() {
            return Vec::new();
        }
        let there = |schema: &Value| unknown.iter().all(|unknown| at(schema, &unknown.field).is_some());
        let schemas = self.read(client, |schemas| schemas.get(kind).is_some_and(there)).await;
        let schema = schemas.get(kind);
        let named = |unknown: &Unknown| {
            let definition = schema.and_then(|schema| at(schema, &unknown.field));
            let by_default = definition.is_some_and(|schema| is_default(&unknown.value, schema));
            let since = definition.and_then(|schema| since(schema["description"].as_str()?));
            (!by_default).then(|| Named { field: unknown.field.clone(), since })
        };
        unknown.iter().filter_map(named).collect()
    }

    /// A status as far as the kind's definition has room for it; none where that is not known.
    pub async fn room_for(&self, kind: &str, status: &Value, client: &Client) -> Option<Value> {
        let schemas = self.read(client, |_| false).await;
        let schema = schemas.get(kind)?["properties"].get("status")?;
        let mut status = status.clone();
        cut(&mut status, schema);
        Some(status)
    }

    /// The definitions; those that were read before, unless they are old, or do not say enough and may say more by now.
    async fn read(&self, client: &Client, enough: impl Fn(&Schemas) -> bool) -> Arc<Schemas> {
        let mut known = self.0.lock().await;
        if let Some((read, schemas)) = &*known
            && read.elapsed() < if enough(schemas) { LOOK_EVERY } else { AGAIN }
        {
            return schemas.clone();
        }
        // Without an answer all are named, and none is said to be anybody's default.
        let schemas = Arc::new(published(client).await.unwrap_or_default());
        *known = Some((Instant::now(), schemas.clone()));
        schemas
    }
}

/// Says whether the API server's definitions lack what this operator knows, now and whenever that changes.
pub async fn watch_over(client: Client, kinds: Kinds, metrics: Arc<Metrics>) {
    let mut said: HashMap<&'static str, Vec<String>> = HashMap::new();
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tick.tick().await;
        let schemas = match published(&client).await {
            Ok(schemas) => schemas,
            Err(error) => {
                warn!(
                    "cannot read what the API server says of the kinds; whether it knows all fields is not known: {error}"
                );
                continue;
            }
        };
        for kind in kinds.iter() {
            let Some(theirs) = schemas.get(kind.name()) else { continue };
            let mut lacking = Vec::new();
            lacks(&kind.schema(), theirs, "", &mut lacking);
            metrics.definition_lacks(kind.name(), lacking.len());
            let before = said.insert(kind.name(), lacking.clone()).unwrap_or_default();
            if lacking == before {
                continue;
            }
            if lacking.is_empty() {
                info!(kind = kind.name(), "the API server's definition has everything again");
            } else {
                let (version, fields) = (env!("CARGO_PKG_VERSION"), lacking.join(", "));
                warn!(
                    kind = kind.name(),
                    "the API server's definition is older than this operator (version {version}): what is written into {fields} \
                     is lost; apply the definitions of this version"
                );
            }
        }
    }
}

/// The schemas of our kinds, as the API server publishes them.
async fn published(client: &Client) -> Result<Schemas, kube::Error> {
    let request = Request::get(format!("/openapi/v3/apis/{API_VERSION}")).header("Accept", "application/json");
    let request = request.body(Vec::new()).map_err(kube::Error::HttpError)?;
    let mut document: Value = client.request(request).await?;
    let schemas = document["components"]["schemas"].take();
    let Value::Object(schemas) = schemas else { return Ok(Schemas::new()) };
    let with_kind = |schema: Value| {
        let kind = schema["x-kubernetes-group-version-kind"][0]["kind"].as_str()?.to_owned();
        Some((kind, schema))
    };
    Ok(schemas.into_iter().filter_map(|(_, schema)| with_kind(schema)).collect())
}

/// The schema of a definition's version.
pub fn schema(definition: &CustomResourceDefinition) -> Value {
    let version = definition.spec.versions.first();
    let schema = version.and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    serde_json::to_value(schema).unwrap_or_default()
}

/// The schema of a field.
fn at<'a>(schema: &'a Value, field: &FieldPath) -> Option<&'a Value> {
    field.steps().iter().try_fold(schema, |schema, step| match step {
        Step::Key(key) => schema["properties"].get(key).or_else(|| schema.get("additionalProperties")),
        Step::Index(_) => schema.get("items"),
    })
}

/// Takes out of a value what its schema does not have.
fn cut(value: &mut Value, schema: &Value) {
    if let Some(items) = value.as_array_mut() {
        items.iter_mut().for_each(|item| cut(item, &schema["items"]));
    }
    if let (Some(fields), Some(known)) = (value.as_object_mut(), schema["properties"].as_object()) {
        fields.retain(|name, _| known.contains_key(name));
        fields.iter_mut().for_each(|(name, value)| cut(value, &known[name]));
    }
}

/// Whether a field has the value that the API server puts in.
fn is_default(value: &Value, schema: &Value) -> bool {
    let Some(default) = schema.get("default") else { return false };
    let inner = |(name, value): (&String, &Value)| {
        let inherited = default.get(name) == Some(value);
        inherited || schema["properties"].get(name).is_some_and(|schema| is_default(value, schema))
    };
    // Into an object that it puts in, it puts what is in there by default.
    value == default || (default.is_object() && value.as_object().is_some_and(|fields| fields.iter().all(inner)))
}

/// `0.2.0` of `… Since 0.2.0.`: how a field says in its description which version brought it.
fn since(description: &str) -> Option<String> {
    let after = description.split("Since ").skip(1);
    let version = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let version = text[..end].trim_end_matches('.');
        (version.split('.').count() == 3).then(|| version.to_owned())
    };
    after.filter_map(version).next()
}

/// The fields that `ours` has and `theirs` has not.
fn lacks(ours: &Value, theirs: &Value, path: &str, lacking: &mut Vec<String>) {
    if theirs["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    for (name, schema) in ours["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match theirs["properties"].get(name) {
            Some(theirs) => lacks(schema, theirs, &path, lacking),
            None => lacking.push(path),
        }
    }
    for (keyword, mark) in [("items", "[]"), ("additionalProperties", ".*")] {
        if let (Some(ours @ Value::Object(_)), Some(theirs)) = (ours.get(keyword), theirs.get(keyword)) {
            lacks(ours, theirs, &format!("{path}{mark}"), lacking);
        }
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::{CameraStream, declared::About};
    use serde_json::json;

    use super::*;

    fn ours() -> Value {
        schema(&About::of::<CameraStream>().definition)
    }

    #[test]
    fn a_definition_that_lacks_fields_is_older_and_one_that_has_more_is_not() {
        let lacking = |change: fn(&mut Value)| {
            let mut theirs = ours();
            change(&mut theirs);
            let mut lacking = Vec::new();
            lacks(&ours(), &theirs, "", &mut lacking);
            lacking
        };
        assert_eq!(lacking(|_| ()), [""; 0]);
        assert_eq!(lacking(|theirs| theirs["properties"]["spec"]["properties"]["more"] = json!({})), [""; 0]);
        assert_eq!(
            lacking(|theirs| {
                let fields = |schema: &mut Value, field: &str| {
                    schema["properties"].as_object_mut().expect("fields").remove(field).expect("there")
                };
                fields(&mut theirs["properties"]["spec"], "watchdog");
                fields(&mut theirs["properties"]["spec"]["properties"]["topic"], "key");
                fields(&mut theirs["properties"]["status"], "node");
            }),
            ["spec.topic.key", "spec.watchdog", "status.node"]
        );
    }

    #[test]
    fn a_field_says_since_when_it_is_there() {
        assert_eq!(since("How bright. Default: 1. Since 0.12.0. At most 2."), Some("0.12.0".into()));
        assert_eq!(since("Since the lamp is new. Since 1.2.3"), Some("1.2.3".into()));
        assert_eq!((since("Since 2024."), since("")), (None, None));
    }

    #[test]
    fn what_the_api_server_puts_in_is_nobodys_wish() {
        let schema = json!({"type": "object", "default": {"mode": "dark"}, "properties": {
            "mode": {"type": "string"}, "power": {"type": "integer", "default": 5}}});
        assert!(is_default(&json!({"mode": "dark"}), &schema));
        assert!(is_default(&json!({"mode": "dark", "power": 5}), &schema));
        assert!(!is_default(&json!({"mode": "dark", "power": 6}), &schema));
        assert!(!is_default(&json!({"mode": "dark", "other": 1}), &schema));
        assert!(!is_default(&json!(1), &json!({"type": "integer"})));
    }

    #[test]
    fn a_value_is_cut_to_what_its_schema_has() {
        let schema =
            json!({"properties": {"a": {}, "list": {"items": {"properties": {"b": {}}}}, "open": {"type": "object"}}});
        let mut value = json!({"a": 1, "x": 1, "list": [{"b": 1, "x": 1}], "open": {"x": 1}});
        cut(&mut value, &schema);
        assert_eq!(value, json!({"a": 1, "list": [{"b": 1}], "open": {"x": 1}}));
    }

    #[test]
    fn a_field_is_found_in_lists_and_mappings() {
        let schema = json!({"properties": {"spec": {"properties": {
            "list": {"items": {"properties": {"a": {"default": 1}}}},
            "dict": {"additionalProperties": {"default": 2}}}}}});
        let default = |path: &FieldPath| at(&schema, path).map(|schema| schema["default"].clone());
        let spec = FieldPath::of("spec");
        assert_eq!(default(&spec.key("list").index(3).key("a")), Some(json!(1)));
        assert_eq!(default(&spec.key("dict").key("x.y")), Some(json!(2)));
        assert_eq!(default(&spec.key("other")), None);
    }
}
