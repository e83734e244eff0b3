//! The files that are made from the types and kept in the repository: what they are called and what they hold.

use crate::publish::{crd, reference};

/// The files' paths from the repository's root, and their contents.
pub fn files() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = crd::crds()
        .iter()
        .map(|crd| (format!("crds/yaml/{}.yaml", crd.spec.names.plural), crd::crd_yaml(crd)))
        .collect();
    files.extend(
        crd::crds().iter().map(|crd| {
            (format!("charts/edgereel-crds/templates/{}.yaml", crd.spec.names.plural), crd::chart_yaml(crd))
        }),
    );
    let mut schema = serde_json::to_string_pretty(&crd::json_schema()).expect("a JSON value is JSON");
    schema.push('\n');
    files.push(("crds/schema/edgereel.schema.json".into(), schema));
    files.push(("docs/reference.md".into(), reference::markdown()));
    files
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    #[test]
    fn the_files_in_the_repository_are_those_of_the_types() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (path, content) in super::files() {
            let stored = fs::read_to_string(root.join(&path)).unwrap_or_default();
            assert!(stored == content, "{path} is stale: run `cargo run -p edgereel-crds --bin crdgen`");
        }
    }
}
