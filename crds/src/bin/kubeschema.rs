//! Writes JSON schemas for kubeconform: strict ones, a file for each kind and version, from what Kubernetes itself publishes.
//!
//! `kubeschema OUT FILE…`: each FILE is either Kubernetes' own `swagger.json` or YAML with CustomResourceDefinitions.
//! The files are called as kubeconform asks for them: `OUT/KIND-GROUP-VERSION.json`, `OUT/KIND-VERSION.json` for the core
//! group, all in small letters. Fields that a schema does not name are errors, as with `kubectl apply --validate=strict`.

use std::{env, fs, path::Path, process::ExitCode};

use serde_json::{Map, Value, json};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some((out, files)) = arguments.split_first().filter(|(_, files)| !files.is_empty()) else {
        eprintln!("kubeschema: usage: kubeschema OUT FILE…");
        return ExitCode::from(2);
    };
    match files.iter().try_fold(0, |written, file| Ok(written + convert(Path::new(out), file)?)) {
        Ok(written) => {
            println!("{written} schemas in {out}");
            ExitCode::SUCCESS
        }
        Err::<_, String>(error) => {
            eprintln!("kubeschema: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the schemas of one file; how many there were.
fn convert(out: &Path, file: &str) -> Result<usize, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let schemas = if file.ends_with(".json") {
        let swagger = serde_json::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
        kubernetes(&swagger)
    } else {
        let (documents, faults) = edgereel_crds::document::yaml::parse(&text);
        if let Some(fault) = faults.first() {
            return Err(format!("{file}:{}: {}", fault.at.line, fault.message));
        }
        documents.iter().flat_map(|document| custom(&document.to_json())).collect()
    };
    if schemas.is_empty() {
        return Err(format!("{file} has neither `definitions` nor a CustomResourceDefinition"));
    }
    fs::create_dir_all(out).map_err(|error| format!("cannot make {}: {error}", out.display()))?;
    for (name, schema) in &schemas {
        let path = out.join(name);
        fs::write(&path, schema.to_string()).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(schemas.len())
}

/// What kubeconform calls a kind's file. It takes the first label of the group alone.
fn file_name(group: &str, version: &str, kind: &str) -> String {
    let group = group.split('.').next().unwrap_or_default();
    let dash = if group.is_empty() { "" } else { "-" };
    format!("{kind}{dash}{group}-{version}.json").to_lowercase()
}

/// The kinds of `swagger.json`, each with all that it refers to put in.
fn kubernetes(swagger: &Value) -> Vec<(String, Value)> {
    let Some(definitions) = swagger["definitions"].as_object() else { return Vec::new() };
    let mut schemas = Vec::new();
    for (name, definition) in definitions {
        let kinds = definition["x-kubernetes-group-version-kind"].as_array().map(Vec::as_slice).unwrap_or_default();
        // Types such as DeleteOptions belong to every group and stand in no file.
        let [kind] = kinds else { continue };
        let word = |key: &str| kind[key].as_str().unwrap_or_default();
        let mut schema = put_in(definitions, name, &mut Vec::new());
        for (field, value) in [("kind", word("kind").to_owned()), ("apiVersion", api_version(kind))] {
            schema["properties"][field] = json!({"const": value});
        }
        schemas.push((file_name(word("group"), word("version"), word("kind")), schema));
    }
    schemas
}

fn api_version(kind: &Value) -> String {
    match (kind["group"].as_str().unwrap_or_default(), kind["version"].as_str().unwrap_or_default()) {
        ("", version) => version.to_owned(),
        (group, version) => format!("{group}/{version}"),
    }
}

/// A definition with its references put in. One that contains itself (a schema in a CustomResourceDefinition) takes
/// anything below.
fn put_in(definitions: &Map<String, Value>, name: &str, within: &mut Vec<String>) -> Value {
    // What JSON says of these two is not what the API server takes.
    match name.rsplit('.').next() {
        Some("IntOrString") => return json!({"type": ["string", "integer"]}),
        Some("Quantity") => return json!({"type": ["string", "number"]}),
        _ => {}
    }
    if within.iter().any(|outer| outer == name) {
        return json!({});
    }
    within.push(name.to_owned());
    let mut schema = definitions.get(name).cloned().unwrap_or_default();
    resolve(definitions, &mut schema, within);
    within.pop();
    strict(&mut schema);
    schema
}

fn resolve(definitions: &Map<String, Value>, schema: &mut Value, within: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            let reference = map.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/definitions/"));
            if let Some(name) = reference.map(str::to_owned) {
                *schema = put_in(definitions, &name, within);
                return;
            }
            map.values_mut().for_each(|value| resolve(definitions, value, within));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| resolve(definitions, item, within)),
        _ => {}
    }
}

/// The versions of a CustomResourceDefinition.
fn custom(crd: &Value) -> Vec<(String, Value)> {
    if crd["kind"] != "CustomResourceDefinition" {
        return Vec::new();
    }
    let spec = &crd["spec"];
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, kind) = (word(&spec["group"]), word(&spec["names"]["kind"]));
    let versions = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let schema_of = |version: &Value| {
        let name = word(&version["name"]);
        let mut schema = version["schema"]["openAPIV3Schema"].clone();
        // The API server adds these to every kind, whether the definition names them or not.
        schema["properties"]["apiVersion"] = json!({"const": format!("{group}/{name}")});
        schema["properties"]["kind"] = json!({"const": kind});
        schema["properties"]["metadata"] = json!({"type": "object"});
        strict(&mut schema);
        (file_name(&group, &name, &kind), schema)
    };
    versions.iter().map(schema_of).collect()
}

/// Makes fields that are not named errors, everywhere below `schema`, and OpenAPI's dialect JSON Schema's.
fn strict(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    if map.remove("x-kubernetes-int-or-string") == Some(Value::Bool(true)) {
        map.insert("type".into(), json!(["string", "integer"]));
        map.remove("anyOf");
    }
    let open = map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    let named = map.get("properties").and_then(Value::as_object).is_some_and(|properties| !properties.is_empty());
    if named && !open && !map.contains_key("additionalProperties") {
        map.insert("additionalProperties".into(), json!(false));
    }
    if map.remove("nullable") == Some(Value::Bool(true))
        && let Some(Value::String(kind)) = map.get("type").cloned()
    {
        map.insert("type".into(), json!([kind, "null"]));
    }
    // Its names are Go's and OpenAPI's, and few are JSON Schema's.
    map.remove("format");
    if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(strict);
    }
    for key in ["items", "additionalProperties"] {
        map.get_mut(key).into_iter().for_each(strict);
    }
    // Branches say what is required beside the properties; they name no fields of their own.
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_called_as_kubeconform_asks_for_them() {
        assert_eq!(file_name("", "v1", "ConfigMap"), "configmap-v1.json");
        assert_eq!(file_name("apps", "v1", "Deployment"), "deployment-apps-v1.json");
        assert_eq!(file_name("rbac.authorization.k8s.io", "v1", "Role"), "role-rbac-v1.json");
    }

    #[test]
    fn a_kind_has_all_that_it_refers_to_and_nothing_that_it_does_not_name() {
        let swagger = json!({"definitions": {
            "v1.Box": {
                "properties": {"spec": {"$ref": "#/definitions/v1.BoxSpec"}, "kind": {"type": "string"}},
                "x-kubernetes-group-version-kind": [{"group": "x.io", "kind": "Box", "version": "v1"}],
            },
            "v1.BoxSpec": {
                "type": "object",
                "properties": {
                    "port": {"$ref": "#/definitions/util.IntOrString"},
                    "inner": {"$ref": "#/definitions/v1.BoxSpec"},
                },
            },
        }});
        let schemas = kubernetes(&swagger);
        let (name, schema) = &schemas[0];
        assert_eq!((schemas.len(), name.as_str()), (1, "box-x-v1.json"));
        assert_eq!(schema["properties"]["apiVersion"], json!({"const": "x.io/v1"}));
        assert_eq!(schema["properties"]["spec"]["additionalProperties"], json!(false));
        assert_eq!(schema["properties"]["spec"]["properties"]["port"], json!({"type": ["string", "integer"]}));
        assert_eq!(schema["properties"]["spec"]["properties"]["inner"], json!({}));
    }

    #[test]
    fn our_own_definitions_become_strict_schemas() {
        for crd in edgereel_crds::publish::crd::crds() {
            let crd = serde_json::to_value(&crd).expect("a definition is JSON");
            let schemas = custom(&crd);
            let (name, schema) = &schemas[0];
            assert!(name.ends_with("-edgereel-v1alpha1.json"), "{name}");
            assert_eq!(schema["properties"]["spec"]["additionalProperties"], json!(false));
        }
    }
}
