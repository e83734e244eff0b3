//! What the operator is told by its flags: what differs by cluster and is no field of a resource.

use std::time::Duration;

use crate::rollout::settings::RolloutSettings;

/// The operator's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The image that workers run, unless their resource names another.
    pub worker_image: String,
    /// Secrets to pull it with, by name, in the resource's namespace.
    pub image_pull_secrets: Vec<String>,
    /// Directories of nodes below which a `hostPath` may lie.
    pub allowed_host_paths: Vec<String>,
    /// Whom workers run as, unless their resource says otherwise.
    pub run_as_user: i64,
    /// Their main group.
    pub run_as_group: i64,
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
            run_as_user: 65532,
            run_as_group: 65532,
            poll_interval: Duration::from_secs(30),
            rollout: RolloutSettings::default(),
        }
    }
}

/// The names in a path, without empty ones and `.`.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".")
}

impl Settings {
    /// Whether a `hostPath` lies in a directory that is allowed, compared name by name: `/data` allows `/data/a` and not
    /// `/database`. A path with `..` is never allowed.
    pub fn allows(&self, path: &str) -> bool {
        path.starts_with('/')
            && names(path).all(|name| name != "..")
            && self.allowed_host_paths.iter().any(|allowed| {
                let mut asked = names(path);
                names(allowed).all(|name| asked.next() == Some(name))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_path_is_allowed_below_an_allowed_directory_and_nowhere_else() {
        let settings = Settings {
            allowed_host_paths: vec!["/KafkaSSD/data/".into(), "/media//user".into()],
            ..Settings::default()
        };
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
            assert_eq!(settings.allows(path), allowed, "{path}");
        }
        assert!(!Settings::default().allows("/data"), "nothing is allowed by default");
        assert!(Settings { allowed_host_paths: vec!["/".into()], ..Settings::default() }.allows("/any"));
    }
}
