//! What the last release took is taken today, and means what it meant. The release's definitions and examples are in
//! `released/`; `docs/releasing.md` says when they are replaced.
//!
//! Before the first release they are those of the version that is to be it.

use std::{collections::BTreeMap, fs, path::Path};

use edgereel_crds::{crds, document::yaml, load};
use kube_cel::Validator;
use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/released");

/// The schema of each kind.
type Schemas = BTreeMap<String, Value>;

fn schema_of(definition: &Value) -> (String, Value) {
    let kind = definition["spec"]["names"]["kind"].as_str().expect("a kind").to_owned();
    (kind, definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone())
}

fn present() -> Schemas {
    crds().iter().map(|crd| schema_of(&serde_json::to_value(crd).expect("JSON"))).collect()
}

fn released() -> Schemas {
    let files = fs::read_dir(format!("{FOLDER}/crds")).expect("the release's definitions");
    let texts = files.map(|file| fs::read_to_string(file.expect("a file").path()).expect("a text"));
    texts.map(|text| schema_of(&yaml::parse(&text).0[0].to_json())).collect()
}

/// The release's examples, those of a folder together.
fn examples(folder: &Path, found: &mut Vec<Vec<(String, String)>>) {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => examples(&path, found),
            false => files.push((path.display().to_string(), fs::read_to_string(&path).expect("a text"))),
        }
    }
    if !files.is_empty() {
        found.push(files);
    }
}

#[test]
fn every_example_of_the_last_release_is_taken_as_it_was() {
    let (mut all, schemas) = (Vec::new(), present());
    examples(&Path::new(FOLDER).join("examples"), &mut all);
    assert!(all.len() >= 5, "the examples are found");
    for files in all {
        load(&files).unwrap_or_else(|problems| panic!("{problems:#?}"));
        for document in files.iter().flat_map(|(_, text)| yaml::parse(text).0) {
            let document = document.to_json();
            let Some(schema) = document["kind"].as_str().and_then(|kind| schemas.get(kind)) else { continue };
            let refused = Validator::new().validate_with_defaults(schema, &document, None).err();
            assert!(refused.is_none(), "{}: {refused:?}", document["metadata"]["name"]);
        }
    }
}

/// Whatever a newer schema refuses, or takes for something else, although the older one took it.
fn narrowed(old: &Value, new: &Value, path: &str, found: &mut Vec<String>) {
    let mut say = |what: String| found.push(format!("{path}: {what}"));
    for keyword in ["type", "default", "pattern", "format", "x-kubernetes-int-or-string", "nullable"] {
        if old.get(keyword) != new.get(keyword) && !(keyword == "nullable" && new[keyword] == true) {
            say(format!("`{keyword}` was {} and is {}", old[keyword], new[keyword]));
        }
    }
    for (keyword, sign) in [
        ("minimum", 1.0),
        ("minLength", 1.0),
        ("minItems", 1.0),
        ("maximum", -1.0),
        ("maxLength", -1.0),
        ("maxItems", -1.0),
    ] {
        let narrower = match (old[keyword].as_f64(), new[keyword].as_f64()) {
            (Some(old), Some(new)) => new * sign > old * sign,
            (old, new) => old.is_none() && new.is_some(),
        };
        if narrower {
            say(format!("`{keyword}` was {} and is {}", old[keyword], new[keyword]));
        }
    }
    let list = |schema: &Value, keyword: &str| schema[keyword].as_array().cloned().unwrap_or_default();
    list(new, "required").iter().filter(|name| !list(old, "required").contains(name)).for_each(|name| {
        say(format!("{name} has to be given now"));
    });
    list(old, "enum").iter().filter(|word| !list(new, "enum").contains(word)).for_each(|word| {
        say(format!("{word} is not taken any more"));
    });
    for (name, old) in old["properties"].as_object().into_iter().flatten() {
        match new["properties"].get(name) {
            Some(new) => narrowed(old, new, &format!("{path}.{name}"), found),
            None => found.push(format!("{path}.{name}: it is gone")),
        }
    }
    for keyword in ["items", "additionalProperties"] {
        if old[keyword].is_object() {
            narrowed(&old[keyword], &new[keyword], &format!("{path}[]"), found);
        }
    }
}

#[test]
fn nothing_that_was_released_is_taken_away_or_narrowed() {
    let (released, present) = (released(), present());
    assert!(!released.is_empty());
    for (kind, old) in &released {
        let mut found = Vec::new();
        narrowed(old, &present[kind], kind, &mut found);
        assert_eq!(found, [""; 0], "docs/kubernetes/api-versions.md says what may change within a version of the API");
    }
}

#[test]
fn what_is_narrowed_is_found() {
    let old = released().remove("CameraStream").expect("a kind");
    let found = |change: fn(&mut Value)| {
        let (mut new, mut found) = (old.clone(), Vec::new());
        change(&mut new["properties"]["spec"]);
        narrowed(&old, &new, "", &mut found);
        found
    };
    assert_eq!(found(|spec| spec["properties"]["more"] = serde_json::json!({"type": "string"})), [""; 0]);
    type Change = fn(&mut Value);
    let table: [(Change, &str); 5] = [
        (
            |spec| drop(spec["properties"].as_object_mut().map(|fields| fields.remove("buffer"))),
            ".spec.buffer: it is gone",
        ),
        (
            |spec| spec["properties"]["watchdog"]["properties"]["stall"]["default"] = "20s".into(),
            ".spec.watchdog.stall: `default` was \"10s\" and is \"20s\"",
        ),
        (
            |spec| spec["required"].as_array_mut().expect("a list").push("buffer".into()),
            ".spec: \"buffer\" has to be given now",
        ),
        (
            |spec| spec["properties"]["encoding"]["properties"]["quality"]["maximum"] = 90.into(),
            ".spec.encoding.quality: `maximum` was 100.0 and is 90",
        ),
        (
            |spec| drop(spec["properties"]["producer"]["properties"]["acks"]["enum"].as_array_mut().map(Vec::pop)),
            ".spec.producer.acks: \"leader\" is not taken any more",
        ),
    ];
    for (change, message) in table {
        assert!(found(change).iter().any(|said| said == message), "{message}: {:?}", found(change));
    }
}

/// The fields of a newer schema that an older one has not.
fn added<'a>(old: &Value, new: &'a Value, path: &str, found: &mut Vec<(String, &'a Value)>) {
    for (name, new) in new["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match old["properties"].get(name) {
            Some(old) => added(old, new, &path, found),
            None => found.push((path, new)),
        }
    }
    for keyword in ["items", "additionalProperties"] {
        if new[keyword].is_object() {
            added(&old[keyword], &new[keyword], &format!("{path}[]"), found);
        }
    }
}

/// An older operator reads it there, and can say how old it is.
#[test]
fn a_field_that_came_since_the_release_says_with_which_version() {
    let version = env!("CARGO_PKG_VERSION");
    if fs::read_to_string(format!("{FOLDER}/VERSION")).expect("the release's version").trim() == version {
        return;
    }
    let (released, present) = (released(), present());
    for (kind, new) in &present {
        let Some(old) = released.get(kind) else { continue };
        let mut fields = Vec::new();
        added(&old["properties"]["spec"], &new["properties"]["spec"], &format!("{kind}.spec"), &mut fields);
        for (path, schema) in fields {
            let said = schema["description"].as_str().unwrap_or_default();
            assert!(said.contains(&format!("Since {version}.")), "{path}: end its description with `Since {version}.`");
        }
    }
}
