//! A definition (CRD) with another schema, until it is put back: as another version of the API has it.

use serde_json::{Value, json};

use crate::world::World;

const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";

/// A changed definition. It is put back when this is dropped.
pub struct Changed<'w> {
    world: &'w World,
    name: String,
    schema: Value,
}

impl<'w> Changed<'w> {
    /// The definition of a plural (`camerastreams`), changed.
    #[track_caller]
    pub fn with(world: &'w World, plural: &str, change: impl FnOnce(&mut Value)) -> Self {
        let name = format!("{plural}.edgereel.dev");
        let text = world.kube.run(&["get", "crd", &name, "-o", "json"]);
        let crd: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let schema = crd.pointer(SCHEMA).cloned().expect("the CRD has a schema");
        let changed = Changed { world, name, schema };
        let mut other = changed.schema.clone();
        change(&mut other);
        changed.set(&other);
        changed
    }

    fn set(&self, schema: &Value) {
        let patch = json!([{"op": "replace", "path": SCHEMA, "value": schema}]).to_string();
        self.world.kube.run(&["patch", "crd", &self.name, "--type=json", "-p", &patch]);
    }
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        self.set(&self.schema);
    }
}
