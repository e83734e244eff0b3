//! From files to resources: which documents are ours, their names, their specs, and the `v1` Secrets beside them.

pub mod load;
mod walk;
pub mod yaml;

use std::collections::BTreeMap;

use base64::Engine;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{
    api::{
        common::{ConnectionRef, LocalRef},
        declared::Source,
        fields::{shape, take_unknown},
        name::{API_VERSION, Kind, ObjectName, label},
        shape::Shape,
    },
    check::{References, Resource, Resources, is_label, is_subdomain},
    document::{
        walk::{Finding, walk},
        yaml::{Entry, Node, Position, Value},
    },
    plan::{Revisions, UnknownField},
    problem::{FieldPath, Problem, did_you_mean, listed, shown},
};

/// What `metadata` may hold in a document; the API server writes most of it. Source: `metav1.ObjectMeta`.
pub(crate) const METADATA: [&str; 15] = [
    "name",
    "namespace",
    "labels",
    "annotations",
    "generateName",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "finalizers",
    "ownerReferences",
    "selfLink",
];

/// An annotation of a document: which revision of its resource it is, for whoever wrote it.
pub const REVISION: &str = "edgereel.dev/revision";
/// The annotation that has a resource started anew when its text changes.
pub const RESTART: &str = "edgereel.dev/restart";

/// A document of ours, and where it came from.
pub struct Document {
    /// The file's name.
    pub file: String,
    /// The document.
    pub node: Node,
    /// The resource as problems name it.
    pub label: String,
}

/// What becomes of a field that this version does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// It is a problem: a person has typed it.
    #[default]
    Strict,
    /// It is passed over and named: another version has written it.
    Lenient,
}

/// What the files hold.
#[derive(Default)]
pub struct Read {
    /// The resources; each one's `document` is its place in `documents`.
    pub resources: Resources,
    /// The documents that are ours.
    pub documents: Vec<Document>,
    /// What is wrong with their form.
    pub problems: Vec<Problem>,
    /// Fields that were passed over.
    pub unknown: Vec<UnknownField>,
    /// The revisions that documents name.
    pub revisions: Revisions,
    /// Their annotations [`RESTART`].
    pub restarts: Revisions,
}

/// Reads all documents of all files, each a name and a text. A file with a fault does not keep the others from being read.
pub fn read(files: &[(String, String)]) -> Read {
    read_as(Reading::Strict, files)
}

/// [`read`], as strictly as is said.
pub fn read_as(reading: Reading, files: &[(String, String)]) -> Read {
    let mut read = Read::default();
    for (file, text) in files {
        let (documents, faults) = yaml::parse(text);
        for fault in faults {
            read.problem(file, fault.at, "", "", fault.message, fault.remedy);
        }
        for node in documents {
            read.document(reading, file, node);
        }
    }
    read
}

/// A document while it is read.
struct Context<'a> {
    reading: Reading,
    file: &'a str,
    label: String,
    node: &'a Node,
    problems: &'a mut Vec<Problem>,
    unknown: &'a mut Vec<UnknownField>,
}

impl Context<'_> {
    fn add(&mut self, at: Position, field: &FieldPath, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line: at.line,
            column: at.column,
            resource: self.label.clone(),
            field: field.to_string(),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    fn found(&mut self, finding: Finding) {
        let Finding { at, field, message, remedy, unknown } = finding;
        match unknown {
            true => self.unknown(at, &field, remedy),
            false => self.add(at, &field, message, remedy),
        }
    }

    /// A field that is not known here.
    fn unknown(&mut self, at: Position, field: &FieldPath, remedy: impl Into<String>) {
        match self.reading {
            Reading::Strict => self.add(at, field, "there is no such field", remedy),
            Reading::Lenient => {
                self.unknown.push(UnknownField { resource: self.label.clone(), field: field.clone() });
            }
        }
    }

    /// A problem at a field, or where it should stand.
    fn at(&mut self, field: &str, message: impl Into<String>, remedy: impl Into<String>) {
        let field = FieldPath::of(field);
        self.add(self.node.locate(&field), &field, message, remedy);
    }
}

impl Read {
    fn problem(
        &mut self,
        file: &str,
        at: Position,
        label: &str,
        field: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.problems.push(Problem {
            file: file.to_owned(),
            line: at.line,
            column: at.column,
            resource: label.to_owned(),
            field: field.to_owned(),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    fn document(&mut self, reading: Reading, file: &str, node: Node) {
        match &node.value {
            Value::Null => return,
            Value::Map(_) => {}
            _ => {
                return self.problem(
                    file,
                    node.at,
                    "",
                    "",
                    "this is not a resource",
                    "begin with `apiVersion` and `kind`",
                );
            }
        }
        let header = |key: &str| node.get(key).and_then(Node::text).unwrap_or_default();
        let (api_version, kind) = (header("apiVersion").to_owned(), header("kind").to_owned());
        for (field, value) in [("apiVersion", &api_version), ("kind", &kind)] {
            if value.is_empty() {
                let at = node.locate(&FieldPath::of(field));
                let remedy = format!("begin with `apiVersion: {API_VERSION}` and `kind: {}`", listed_kinds());
                return self.problem(file, at, "", field, "it is missing, or not a text", remedy);
            }
        }
        let ours = Kind::ALL.into_iter().find(|k| k.as_str() == kind);
        let group = api_version.split('/').next().unwrap_or_default();
        match (api_version.as_str(), kind.as_str(), ours) {
            (API_VERSION, _, Some(kind)) => self.resource(reading, file, node, kind),
            ("v1", "Secret", _) => self.values(reading, file, &node, &SECRET),
            ("v1", "ConfigMap", _) => self.values(reading, file, &node, &CONFIG_MAP),
            ("v1", "List", _) => self.list(reading, file, &node),
            (API_VERSION, list, _) if is_list_of_ours(list) => self.list(reading, file, &node),
            (_, _, Some(kind)) => {
                let at = node.locate(&FieldPath::of("apiVersion"));
                let message = format!("there is no {kind} in `{}`", shown(&api_version));
                self.problem(file, at, kind.as_str(), "apiVersion", message, format!("write `{API_VERSION}`"));
            }
            _ if group == "edgereel.dev" => {
                let at = node.locate(&FieldPath::of("kind"));
                let remedy = match did_you_mean(&kind, Kind::ALL.map(Kind::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the kinds are {}", listed(Kind::ALL.map(Kind::as_str))),
                };
                let message = format!("there is no kind `{}` in `{}`", shown(&kind), shown(&api_version));
                self.problem(file, at, "", "kind", message, remedy);
            }
            // Somebody else's: a Namespace, a Kustomization, ….
            _ => {}
        }
    }

    fn list(&mut self, reading: Reading, file: &str, node: &Node) {
        if let Some(Node { value: Value::List(items), .. }) = node.get("items") {
            for item in items.iter() {
                // Lists in lists would go as deep as the document; no tool writes them.
                let nested = item.get("kind").and_then(Node::text).is_some_and(|kind| kind.ends_with("List"));
                if !nested {
                    self.document(reading, file, item.clone());
                }
            }
        }
    }

    #[deny(clippy::wildcard_enum_match_arm)]
    fn resource(&mut self, reading: Reading, file: &str, node: Node, kind: Kind) {
        let name = object_name(&node);
        let mut context = Context {
            reading,
            file,
            label: name.as_ref().map_or(kind.to_string(), |name| kind.label(name)),
            node: &node,
            problems: &mut self.problems,
            unknown: &mut self.unknown,
        };
        check_frame(&mut context, kind);
        let annotations = node.get("metadata").and_then(|metadata| metadata.get("annotations"));
        for (annotation, all) in [(REVISION, &mut self.revisions), (RESTART, &mut self.restarts)] {
            let text = annotations.and_then(|annotations| annotations.get(annotation)?.text());
            if let Some((name, text)) = name.as_ref().zip(text) {
                all.insert((kind, name.clone()), text.to_owned());
            }
        }
        let document = self.documents.len();
        let with_name = name.map(|name| Resource { name, spec: (), document });
        let resources = &mut self.resources;
        let read = match kind {
            Kind::KafkaConnection => spec(&mut context)
                .zip(with_name.as_ref())
                .map(|(spec, r)| resources.connections.push(with_spec(r, spec))),
            Kind::CameraWorker => {
                spec(&mut context).zip(with_name.as_ref()).map(|(spec, r)| resources.workers.push(with_spec(r, spec)))
            }
            Kind::CameraStream => {
                spec(&mut context).zip(with_name.as_ref()).map(|(spec, r)| resources.cameras.push(with_spec(r, spec)))
            }
            Kind::FrameSink => {
                spec(&mut context).zip(with_name.as_ref()).map(|(spec, r)| resources.sinks.push(with_spec(r, spec)))
            }
        };
        let label = context.label;
        if let (None, Some(resource)) = (read, with_name) {
            let resource = with_spec(&resource, references(&node));
            resources.unreadable.push((kind, resource));
        }
        self.documents.push(Document { file: file.to_owned(), node, label });
    }

    /// What stands in a Secret or a ConfigMap.
    fn values(&mut self, reading: Reading, file: &str, node: &Node, of: &Holder) {
        let name = object_name(node);
        let label = name.as_ref().map_or(of.kind.into(), |name| label(of.kind, name));
        let (problems, unknown) = (&mut self.problems, &mut self.unknown);
        let mut context = Context { reading, file, label, node, problems, unknown };
        check_metadata(&mut context);
        let mut values = BTreeMap::new();
        for (field, encoded) in of.fields {
            let Some(section) = node.get(field) else { continue };
            for entry in section.entries() {
                let path = FieldPath::of(field).key(&entry.key);
                // The value is a secret: no message shows it.
                let Some(text) = entry.value.text() else {
                    context.add(entry.key_at, &path, "this is not a text", "put it in quotes");
                    continue;
                };
                let value = match encoded {
                    true => decode(text),
                    false => Some(text.as_bytes().to_vec()),
                };
                match value {
                    Some(value) => {
                        values.insert(entry.key.clone(), value);
                    }
                    None => {
                        let remedy = format!("encode it, or move it to `{}`", of.plain);
                        context.add(entry.key_at, &path, "this is not base64", remedy);
                    }
                }
            }
        }
        let (at, label) = (node.locate(&FieldPath::of("metadata.name")), context.label);
        let Some(name) = name else { return };
        let folder = ObjectName { name: (of.source)(name.name).folder(), ..name };
        if self.resources.secrets.insert(folder, values).is_some() {
            let message = format!("there is another {label}");
            self.problem(file, at, &label, "metadata.name", message, "keep one");
        }
    }
}

/// A kind that holds values.
struct Holder {
    kind: &'static str,
    source: fn(String) -> Source,
    /// Where they stand, and whether in base64.
    fields: [(&'static str, bool); 2],
    /// Where they stand as they are.
    plain: &'static str,
}

const SECRET: Holder = Holder {
    kind: "Secret",
    source: Source::Secret,
    fields: [("data", true), ("stringData", false)],
    plain: "stringData",
};
const CONFIG_MAP: Holder = Holder {
    kind: "ConfigMap",
    source: Source::ConfigMap,
    fields: [("data", false), ("binaryData", true)],
    plain: "data",
};

fn listed_kinds() -> String {
    Kind::ALL.map(Kind::as_str).join("|")
}

fn is_list_of_ours(kind: &str) -> bool {
    kind.strip_suffix("List").is_some_and(|kind| Kind::ALL.into_iter().any(|k| k.as_str() == kind))
}

/// As the API server takes it: padding is needed, line breaks are not looked at.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

fn object_name(node: &Node) -> Option<ObjectName> {
    let metadata = node.get("metadata")?;
    let name = metadata.get("name")?.text()?.to_owned();
    let namespace = metadata.get("namespace").and_then(Node::text).unwrap_or("default").to_owned();
    (!name.is_empty()).then_some(ObjectName { namespace, name })
}

/// Everything of a document but its spec.
fn check_frame(context: &mut Context<'_>, kind: Kind) {
    let node = context.node;
    for entry in node.entries() {
        // `status` stands in what `kubectl get -o yaml` writes.
        let known = ["apiVersion", "kind", "metadata", "spec", "status"];
        if !known.contains(&entry.key.as_str()) {
            let remedy = match did_you_mean(&entry.key, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("a {kind} has {}", listed(&known[..4])),
            };
            context.unknown(entry.key_at, &FieldPath::default().key(&entry.key), remedy);
        }
    }
    check_metadata(context);
}

fn check_metadata(context: &mut Context<'_>) {
    let node = context.node;
    let metadata = node.get("metadata");
    let field = |key: &str| metadata.and_then(|m| m.get(key)).map(|node| &node.value);
    let rfc = "use small letters, digits and `-`, a letter or digit at both ends";
    match field("name") {
        Some(Value::Text(name)) if is_subdomain(name) => {}
        Some(Value::Text(name)) => {
            let message = format!("`{}` is not a name (RFC 1123)", shown(name));
            context.at("metadata.name", message, rfc);
        }
        Some(Value::Null) | None => context.at("metadata.name", "it is missing", "give the resource a name"),
        Some(_) => context.at("metadata.name", "this is not a text", "put it in quotes"),
    }
    match field("namespace") {
        None | Some(Value::Null) => {}
        Some(Value::Text(name)) if is_label(name) => {}
        Some(Value::Text(name)) => {
            let message = format!("`{}` is not a namespace's name (RFC 1123)", shown(name));
            context.at("metadata.namespace", message, rfc);
        }
        Some(_) => context.at("metadata.namespace", "this is not a text", "put it in quotes"),
    }
    for entry in metadata.map_or(&[][..], Node::entries) {
        let path = FieldPath::of("metadata").key(&entry.key);
        if !METADATA.contains(&entry.key.as_str()) {
            let remedy = match did_you_mean(&entry.key, METADATA) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("people write {} here", listed(&METADATA[..4])),
            };
            context.unknown(entry.key_at, &path, remedy);
        } else if ["labels", "annotations"].contains(&entry.key.as_str()) {
            let shape = Shape::Dict(Box::new(Shape::Text(crate::api::shape::Text::default())));
            findings(context, entry, &shape, &path);
        }
    }
}

fn findings(context: &mut Context<'_>, entry: &Entry, shape: &Shape, path: &FieldPath) {
    if matches!(entry.value.value, Value::Null) {
        return;
    }
    for finding in walk(&entry.value, entry.key_at, shape, path) {
        context.found(finding);
    }
}

/// The typed spec, when nothing is wrong with the document's form.
fn spec<T: DeserializeOwned + JsonSchema + 'static>(context: &mut Context<'_>) -> Option<T> {
    let (node, shape, path) = (context.node, shape::<T>(), FieldPath::of("spec"));
    let Some(spec) = node.get("spec").filter(|spec| !matches!(spec.value, Value::Null)) else {
        context.at("spec", "it is missing", "say what the resource is to do");
        return None;
    };
    let before = context.problems.len();
    for finding in walk(spec, node.locate(&path), shape, &path) {
        context.found(finding);
    }
    // A wrong name does not keep the spec from being checked further; a spec of the wrong form does.
    if context.problems.len() > before {
        return None;
    }
    let mut spec = spec.to_json();
    // Each has its finding.
    take_unknown(&mut spec, shape, &path);
    serde_json::from_value(spec)
        .map_err(|error| context.at("spec", format!("it cannot be read: {}", shown(&error.to_string())), ""))
        .ok()
}

/// A part of a resource that a person has typed by itself, as for a flag; `at` is what it is called there.
///
/// # Errors
/// Every problem, with its field and what to do.
pub fn part<T: DeserializeOwned + JsonSchema + 'static>(text: &str, at: &str) -> Result<T, String> {
    let (documents, faults) = yaml::parse(text);
    let fault = faults.first().map(|fault| fault.message.clone());
    let [node] = documents.as_slice() else { return Err(fault.unwrap_or_else(|| "give one document".into())) };
    let findings = match fault {
        Some(fault) => vec![fault],
        None => walk(node, node.at, shape::<T>(), &FieldPath::of(at))
            .into_iter()
            .map(|finding| format!("{}: {}; {}", finding.field, finding.message, finding.remedy))
            .collect(),
    };
    match findings.is_empty() {
        true => serde_json::from_value(node.to_json()).map_err(|error| format!("{at}: {error}")),
        false => Err(findings.join(". ")),
    }
}

/// The names in a spec, as far as they are there.
fn references(node: &Node) -> References {
    let text = |path: &[&str], field: &str| {
        let reference = path.iter().try_fold(node.get("spec")?, |node, key| node.get(key))?;
        reference.get(field).and_then(Node::text).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let name = |path: &[&str]| Some(LocalRef { name: text(path, "name")? });
    let to_kafka = ["kafka", "connectionRef"];
    let connection =
        text(&to_kafka, "name").map(|name| ConnectionRef { name, namespace: text(&to_kafka, "namespace") });
    References { connection, stream: name(&["from", "streamRef"]), worker: name(&["workerRef"]) }
}

fn with_spec<S>(resource: &Resource<()>, spec: S) -> Resource<S> {
    Resource { name: resource.name.clone(), spec, document: resource.document }
}
