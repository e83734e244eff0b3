//! The shape of a part of a pod's template: Kubernetes' own, which definitions leave open.

use std::sync::LazyLock;

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::Value;

use super::{Field, Shape, Text, schema_of};

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
pub(super) fn shape() -> Result<Shape, String> {
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
