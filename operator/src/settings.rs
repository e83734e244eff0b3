//! What the operator is told by its flags: what differs by cluster and is no field of a resource.

use std::{fmt, str::FromStr, time::Duration};

use edgereel_crds::{
    check::overrides::{Whose, overrides},
    document::part,
    pod_overrides::PodOverrides,
    problem::FieldPath,
};

use crate::rollout::settings::RolloutSettings;

/// The operator's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The image that workers run, unless their resource names another.
    pub worker_image: String,
    /// Secrets to pull it with, by name, in the resource's namespace.
    pub image_pull_secrets: Vec<String>,
    /// Directories of nodes below which a `hostPath` may lie.
    pub allowed_host_paths: Vec<Allowed>,
    /// Whether connections of other namespaces may be used: their Secrets are copied then.
    pub shared_connections: bool,
    /// Whom workers run as, unless their resource says otherwise.
    pub run_as_user: i64,
    /// Their main group.
    pub run_as_group: i64,
    /// What all workers' pods have beside what is built, unless their resource says otherwise.
    pub worker_defaults: PodOverrides,
    /// How often each worker is asked for its figures.
    pub poll_interval: Duration,
    /// How changes of these settings reach the workers.
    pub rollout: RolloutSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            worker_image: "edgereel:latest".into(),
            image_pull_secrets: Vec::new(),
            allowed_host_paths: Vec::new(),
            shared_connections: false,
            run_as_user: 65532,
            run_as_group: 65532,
            worker_defaults: PodOverrides::default(),
            poll_interval: Duration::from_secs(30),
            rollout: RolloutSettings::default(),
        }
    }
}

/// A directory of nodes below which a `hostPath` may lie, in one namespace or in all: `/data`, `cameras=/data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The namespace; none: all.
    namespace: Option<String>,
    directory: String,
}

impl Allowed {
    fn holds_in(&self, namespace: &str) -> bool {
        self.namespace.as_ref().is_none_or(|own| own == namespace)
    }
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, directory) = match text.split_once('=') {
            Some((namespace, directory)) if !namespace.contains('/') => (Some(name(namespace)?), directory),
            Some(_) | None => (None, text),
        };
        if directory.is_empty() {
            return Err("it is empty, and would allow nothing; leave it out, or write a directory: `/data`".into());
        }
        if !directory.starts_with('/') || names(directory).any(|name| name == "..") {
            return Err("it is not an absolute path without `..`; write `/data`, or `NAMESPACE=/data`".into());
        }
        Ok(Allowed { namespace, directory: directory.into() })
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.directory)
    }
}

/// The name of an object of Kubernetes, for a flag.
///
/// # Errors
/// What it is instead.
pub fn name(text: &str) -> Result<String, String> {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_name = text.len() <= 253
        && text.split('.').all(|part| {
            let bytes = part.as_bytes();
            bytes.iter().all(|c| inner(*c) || *c == b'-')
                && bytes.first().is_some_and(|c| inner(*c))
                && bytes.last().is_some_and(|c| inner(*c))
        });
    match (is_name, text.is_empty()) {
        (true, _) => Ok(text.to_owned()),
        (false, true) => Err("it is empty, which is no name; leave it out".into()),
        (false, false) => Err("it is no name: small letters, digits and `-`".into()),
    }
}

/// What all workers' pods are to have, from a flag: a part of a pod's template as YAML or JSON.
///
/// # Errors
/// Every field that cannot be taken, and what to do.
pub fn worker_defaults(text: &str) -> Result<PodOverrides, String> {
    let at = "workerDefaults";
    let defaults: PodOverrides = part(text, at)?;
    let problems = overrides(&defaults, &FieldPath::of(at), Whose::Operator);
    let problems: Vec<String> = problems.iter().map(|p| format!("{}: {}; {}", p.field, p.message, p.remedy)).collect();
    if problems.is_empty() { Ok(defaults) } else { Err(problems.join(". ")) }
}

/// The names in a path, without empty ones and `.`.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".")
}

impl Settings {
    /// Whether a `hostPath` lies in a directory that is allowed in the namespace, compared name by name: `/data` allows
    /// `/data/a` and not `/database`. A path with `..` is never allowed.
    pub fn allows(&self, namespace: &str, path: &str) -> bool {
        path.starts_with('/')
            && names(path).all(|name| name != "..")
            && self.allowed_in(namespace).any(|allowed| {
                let mut asked = names(path);
                names(&allowed.directory).all(|name| asked.next() == Some(name))
            })
    }

    /// What is allowed in a namespace.
    pub fn allowed_in(&self, namespace: &str) -> impl Iterator<Item = &Allowed> {
        self.allowed_host_paths.iter().filter(move |allowed| allowed.holds_in(namespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowing(paths: &[&str]) -> Settings {
        let allowed_host_paths = paths.iter().map(|path| path.parse().expect("a directory")).collect();
        Settings { allowed_host_paths, ..Settings::default() }
    }

    #[test]
    fn a_host_path_is_allowed_below_an_allowed_directory_and_nowhere_else() {
        let settings = allowing(&["/KafkaSSD/data/", "/media//user"]);
        for (path, allowed) in [
            ("/KafkaSSD/data", true),
            ("/KafkaSSD/data/", true),
            ("/KafkaSSD/./data/a/b", true),
            ("//KafkaSSD/data/a", true),
            ("/media/user/Extreme SSD", true),
            ("/KafkaSSD/database", false),
            ("/KafkaSSD", false),
            ("/", false),
            ("KafkaSSD/data", false),
            ("/KafkaSSD/data/../../etc", false),
            ("/kafkassd/data", false),
        ] {
            assert_eq!(settings.allows("lab", path), allowed, "{path}");
        }
        assert!(!Settings::default().allows("lab", "/data"), "nothing is allowed by default");
        assert!(allowing(&["/"]).allows("lab", "/any"));
    }

    #[test]
    fn a_directory_can_be_allowed_in_one_namespace_alone() {
        let settings = allowing(&["/shared", "cameras=/KafkaSSD"]);
        for (namespace, path, allowed) in [
            ("cameras", "/KafkaSSD/a", true),
            ("cameras", "/shared/a", true),
            ("other", "/KafkaSSD/a", false),
            ("other", "/shared/a", true),
        ] {
            assert_eq!(settings.allows(namespace, path), allowed, "{namespace} {path}");
        }
    }

    #[test]
    fn what_would_allow_nothing_or_everything_unseen_is_an_error() {
        for (text, said) in [
            ("", "it is empty"),
            ("cameras=", "it is empty"),
            ("data", "not an absolute path"),
            ("/data/../etc", "not an absolute path"),
            ("=/data", "which is no name"),
            ("Cameras=/data", "it is no name"),
            ("/with=sign", ""),
        ] {
            let refused = text.parse::<Allowed>().err().unwrap_or_default();
            assert!(refused.contains(said) && refused.is_empty() == said.is_empty(), "{text}: {refused}");
        }
    }

    #[test]
    fn a_name_is_one_that_kubernetes_takes() {
        for text in ["lab", "a.b-c", "0"] {
            assert_eq!(name(text).as_deref(), Ok(text));
        }
        for text in ["", "-a", "a-", "a..b", "A", "a/b", "a b", &"a".repeat(254)] {
            assert!(name(text).is_err(), "{text}");
        }
    }
}
