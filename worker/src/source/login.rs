//! The user name and password of a camera: from its URL, or from a Secret.

use edgereel_crds::common::LocalRef;
use edgereel_runtime::secrets::{SecretError, Secrets};
use percent_encoding::percent_decode_str;
use url::Url;

/// A user name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// As the camera knows it.
    pub username: String,
    /// Not escaped.
    pub password: String,
}

/// Where user name and password come from.
#[derive(Clone)]
pub enum Login {
    /// There is none.
    None,
    /// They stood in the URL.
    Url(Credentials),
    /// Read again each time, so that a changed Secret counts without a restart.
    Secret {
        /// What can be read.
        secrets: Secrets,
        /// The camera's.
        namespace: String,
        /// The Secret's, with the keys `username` and `password`.
        name: String,
    },
}

impl Login {
    /// Takes the login out of a URL, unless a Secret has it; fails when that cannot be read.
    pub fn take(
        url: &mut Url,
        secret: Option<&LocalRef>,
        namespace: &str,
        secrets: &Secrets,
    ) -> Result<Self, SecretError> {
        let login = match secret {
            Some(LocalRef { name }) => {
                Login::Secret { secrets: secrets.clone(), namespace: namespace.into(), name: name.clone() }
            }
            None if url.username().is_empty() && url.password().is_none() => Login::None,
            None => {
                let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
                let password = decode(url.password().unwrap_or_default());
                Login::Url(Credentials { username: decode(url.username()), password })
            }
        };
        login.credentials()?;
        // A URL with a host takes these.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Ok(login)
    }

    /// What they are now.
    pub fn credentials(&self) -> Result<Option<Credentials>, SecretError> {
        match self {
            Login::None => Ok(None),
            Login::Url(credentials) => Ok(Some(credentials.clone())),
            Login::Secret { secrets, namespace, name } => {
                let username = secrets.text(namespace, name, "username")?;
                let password = secrets.text(namespace, name, "password")?;
                Ok(Some(Credentials { username, password }))
            }
        }
    }
}
