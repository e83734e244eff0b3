//! Which Secrets resources read: for the operator, which mounts them, and for whoever has to notice that one has changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{
    camera_stream::{CameraStreamSpec, Source},
    common::{LocalRef, SecretKeyRef},
    kafka_connection::KafkaConnectionSpec,
};

/// Secrets by name, each with the keys that are read.
pub type SecretUses = BTreeMap<String, BTreeSet<String>>;

/// The Secrets that a camera's own spec names.
pub fn camera_secrets(spec: &CameraStreamSpec) -> SecretUses {
    let mut uses = SecretUses::new();
    let (login, tls) = match &spec.source {
        Source::Mjpeg(source) => (&source.credentials_secret_ref, &source.tls),
        Source::Snapshot(source) => (&source.credentials_secret_ref, &source.tls),
        Source::Synthetic(_) => (&None, &None),
    };
    whole(&mut uses, login.as_ref(), ["username", "password"]);
    key(&mut uses, tls.as_ref().and_then(|tls| tls.ca_secret_ref.as_ref()));
    uses
}

/// The Secrets that a connection names.
pub fn connection_secrets(spec: &KafkaConnectionSpec) -> SecretUses {
    let mut uses = SecretUses::new();
    if let Some(tls) = &spec.tls {
        key(&mut uses, tls.ca_secret_ref.as_ref());
        whole(&mut uses, tls.client_certificate_secret_ref.as_ref(), ["tls.crt", "tls.key"]);
    }
    if let Some(sasl) = &spec.sasl {
        key(&mut uses, sasl.username_secret_ref.as_ref());
        key(&mut uses, sasl.password_secret_ref.as_ref());
        if let Some(oauth) = &sasl.oauth {
            key(&mut uses, Some(&oauth.client_id_secret_ref));
            key(&mut uses, Some(&oauth.client_secret_secret_ref));
        }
    }
    uses
}

/// Both together.
pub fn merged(mut uses: SecretUses, more: SecretUses) -> SecretUses {
    for (name, keys) in more {
        uses.entry(name).or_default().extend(keys);
    }
    uses
}

fn key(uses: &mut SecretUses, reference: Option<&SecretKeyRef>) {
    if let Some(reference) = reference {
        uses.entry(reference.name.clone()).or_default().insert(reference.key.clone());
    }
}

fn whole(uses: &mut SecretUses, reference: Option<&LocalRef>, keys: [&str; 2]) {
    if let Some(reference) = reference {
        uses.entry(reference.name.clone()).or_default().extend(keys.map(Into::into));
    }
}
