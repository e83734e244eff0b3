//! Where a `secretRef` or a `configMapRef` leads: a file below `--secrets-dir`, or a `v1` Secret or ConfigMap among the documents.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use edgereel_crds::{
    name::ObjectName,
    secret_uses::{SecretUses, Source},
    secret_value,
};

use crate::plain::plain;

/// The secrets that this process can read.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    dir: Option<PathBuf>,
    documents: BTreeMap<ObjectName, BTreeMap<String, Vec<u8>>>,
}

/// A secret that cannot be had, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_name} has no readable key `{key}`: {detail}")]
pub struct SecretError {
    source_name: String,
    key: String,
    detail: String,
}

fn error(source: &Source, key: &str, detail: String) -> SecretError {
    let source_name = match source {
        Source::Secret(name) => format!("secret `{name}`"),
        Source::ConfigMap(_) => source.to_string(),
    };
    SecretError { source_name, key: key.into(), detail }
}

impl Secrets {
    /// Secrets below `dir` (read at `dir/name/key`, as a pod mounts them) and those of the documents, which come second.
    pub fn new(dir: Option<PathBuf>, documents: BTreeMap<ObjectName, BTreeMap<String, Vec<u8>>>) -> Self {
        Secrets { dir, documents }
    }

    /// The value of one key, as it is stored.
    fn bytes(&self, namespace: &str, source: &Source, key: &str) -> Result<Vec<u8>, SecretError> {
        let fail = |detail: String| error(source, key, detail);
        let name = &source.folder();
        // Names come from resources; `Path::new(name).file_name()` differs from `name` for anything but a plain name.
        if [name.as_str(), key].iter().any(|part| Path::new(part).file_name().is_none_or(|n| n != *part)) {
            return Err(fail("names with `/` or `..` are refused".into()));
        }
        if let Some(dir) = &self.dir {
            let path = dir.join(name).join(key);
            match fs::read(&path) {
                Ok(value) => return Ok(value),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(fail(format!("{}: {}", path.display(), plain(e)))),
            }
        }
        let document = ObjectName { namespace: namespace.into(), name: name.clone() };
        match (self.documents.get(&document).and_then(|data| data.get(key)), &self.dir) {
            (Some(value), _) => Ok(value.clone()),
            (None, Some(dir)) => Err(fail(format!("write it to {}", dir.join(name).join(key).display()))),
            (None, None) => {
                let kind = match source {
                    Source::Secret(_) => "Secret",
                    Source::ConfigMap(_) => "ConfigMap",
                };
                Err(fail(format!(
                    "pass `--secrets-dir DIR` with the file DIR/{name}/{key}, or add the {kind} to the files given with `-f`"
                )))
            }
        }
    }

    /// What these uses read, by the namespaces that it is in, to be compared with what they read later; none for what cannot be had.
    pub fn values(&self, uses: &BTreeMap<String, SecretUses>) -> Vec<Option<Vec<u8>>> {
        let sources =
            uses.iter().flat_map(|(namespace, uses)| uses.iter().map(move |(source, keys)| (namespace, source, keys)));
        let keys = sources.flat_map(|(namespace, source, keys)| keys.iter().map(move |key| (namespace, source, key)));
        keys.map(|(namespace, source, key)| self.bytes(namespace, source, key).ok()).collect()
    }

    /// What is odd about the values that these uses read, and what is done about it.
    pub fn remarks(&self, namespace: &str, uses: &SecretUses) -> Vec<String> {
        secret_value::remarks(uses, |source, key| secret_value::oddity(&self.bytes(namespace, source, key).ok()?))
    }

    /// The value of one key of a Secret; see [`Secrets::read`].
    pub fn text(&self, namespace: &str, name: &str, key: &str) -> Result<String, SecretError> {
        self.read(namespace, &Source::Secret(name.into()), key)
    }

    /// The value of one key, as text without what editors leave around it ([`secret_value`]).
    pub fn read(&self, namespace: &str, source: &Source, key: &str) -> Result<String, SecretError> {
        let bytes = self.bytes(namespace, source, key)?;
        let text = String::from_utf8(bytes).map_err(|_| error(source, key, "the value is not UTF-8 text".into()))?;
        Ok(secret_value::text(&text).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_before_a_document_and_loses_its_last_newline() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("login")).expect("a directory");
        fs::write(dir.path().join("login/username"), "ann\n").expect("a file");
        let name = ObjectName { namespace: "default".into(), name: "login".into() };
        let document = BTreeMap::from([("username".into(), b"bob".to_vec()), ("password".into(), b"s".to_vec())]);
        let secrets = Secrets::new(Some(dir.path().into()), BTreeMap::from([(name, document)]));
        assert_eq!(secrets.text("default", "login", "username").as_deref(), Ok("ann"));
        assert_eq!(secrets.text("default", "login", "password").as_deref(), Ok("s"));
    }

    #[test]
    fn what_is_odd_about_a_value_is_said_of_those_in_use() {
        let name = ObjectName { namespace: "default".into(), name: "login".into() };
        let values = [("username", "ann"), ("password", "\u{feff}s\n"), ("other", "\n")];
        let values = values.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let secrets = Secrets::new(None, BTreeMap::from([(name, BTreeMap::from(values))]));
        let uses = SecretUses::from([(
            Source::Secret("login".into()),
            ["username", "password", "missing"].map(String::from).into(),
        )]);
        assert_eq!(secrets.text("default", "login", "password").as_deref(), Ok("s"));
        assert_eq!(
            secrets.remarks("default", &uses),
            [
                "`password` of the Secret `login` begins with a byte order mark, which is left out, ends in a line feed, \
              which is left out"
            ]
        );
    }

    #[test]
    fn a_missing_secret_says_where_to_put_it() {
        let error = Secrets::default().text("default", "login", "password").expect_err("nothing there").to_string();
        assert!(error.contains("--secrets-dir DIR") && error.contains("DIR/login/password"), "{error}");
    }

    #[test]
    fn a_config_map_is_read_as_a_secret_is_and_is_none() {
        let (dir, source) = (tempfile::tempdir().expect("a directory"), Source::ConfigMap("ca".into()));
        let error = Secrets::default().read("default", &source, "ca.crt").expect_err("nothing there").to_string();
        assert!(error.starts_with("ConfigMap `ca`") && error.contains("DIR/configmap_ca/ca.crt"), "{error}");
        let name = ObjectName { namespace: "default".into(), name: source.folder() };
        let secrets =
            Secrets::new(Some(dir.path().into()), BTreeMap::from([(name, [("ca.crt".into(), b"a".to_vec())].into())]));
        assert_eq!(secrets.read("default", &source, "ca.crt").as_deref(), Ok("a"));
        assert!(secrets.text("default", "ca", "ca.crt").is_err(), "no Secret of that name");
        fs::create_dir(dir.path().join("configmap_ca")).expect("a directory");
        fs::write(dir.path().join("configmap_ca/ca.crt"), "b\n").expect("a file");
        assert_eq!(secrets.read("default", &source, "ca.crt").as_deref(), Ok("b"));
    }

    #[test]
    fn a_name_cannot_climb_out_of_the_directory() {
        let secrets = Secrets::new(Some("/etc".into()), BTreeMap::new());
        for (name, key) in [("..", "passwd"), ("a/../..", "x"), ("a", "../../passwd"), ("a", ""), ("/etc", "passwd")] {
            let error = secrets.text("default", name, key).expect_err("refused").to_string();
            assert!(error.contains("refused"), "{name} {key}: {error}");
        }
    }
}
