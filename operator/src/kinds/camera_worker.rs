//! `CameraWorker`: one pod for all the cameras that name it. Which cameras are in it changes while it runs.
//!
//! Each resource has a file of its own in the worker's configuration. One that is wrong, paused or cannot be read keeps the file
//! that it had: what runs goes on.

use std::collections::{BTreeMap, BTreeSet};

use edgereel_crds::{
    CameraStream, CameraWorker,
    check::Resource as Checked,
    declared::Declared,
    document::{RESTART, REVISION},
    name::{Kind, ObjectName},
    resource_status::CameraWorkerStatus,
    secret_uses::{SecretUses, Source, merged},
};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::ConfigMap},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{
    cache::Caches,
    controller::{
        apply::owned,
        copies::{Loan, documents},
        dereference::{Found, Guest, lookup, object_name},
        figures::{WorthWriting, conditions_matter},
        guest::{self, HANDING_OVER},
        managed::{Managed, Observed},
        names::Names,
        observe,
        program::{Program, follow_args},
        validate::{self, Refusal, owner},
        workload::{Runs, Runtime, Workload},
    },
    hash::hash_of,
    references::Node,
    rollout::pause::is_paused,
    settings::Settings,
};

impl Managed for CameraWorker {
    const RUNS: Option<Runs> = Some(Runs::Singleton);
    const COUNTS_USERS: bool = true;
    const HOSTS: bool = true;

    /// The cameras that name it, each with what it refers to; and what its pod has now.
    fn dereference(&self, caches: &Caches) -> Found {
        let mut found = Found::default();
        let (name, names, owner) = (object_name(self), Names::of(self), owner(self));
        let document = found.document(Self::NAME, &name, &self.spec);
        found.resources.workers.push(Checked { name: name.clone(), spec: self.spec.clone(), document });
        let config = caches.children::<ConfigMap>().and_then(|all| all.get(&name.namespace, &names.followed()));
        found.before = config.filter(|map| owned(&**map, &owner)).and_then(|map| map.data.clone()).unwrap_or_default();
        let live = caches.children::<Deployment>().and_then(|all| all.get(&name.namespace, &names.workload));
        found.mounted =
            live.filter(|live| owned(&**live, &owner)).map(|live| guest::mounted(&live)).unwrap_or_default();
        found.users = caches.references().sources_of(&Node::of::<Self>(&name));
        for camera in found.users.clone() {
            let Some(Ok(camera)) = lookup::<CameraStream>(caches, &camera.name) else { continue };
            if camera.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let of = camera.dereference(caches);
            found.uses = merged(std::mem::take(&mut found.uses), of.uses.clone());
            found.borrowed.extend(of.borrowed.clone());
            found.waits |= of.waits;
            let elsewhere = guest::is_elsewhere(&camera, &name, caches);
            if elsewhere {
                found.settles = Some(HANDING_OVER);
            }
            found.guests.push(Guest { camera, found: of, elsewhere });
        }
        // One that cannot be read refers to nothing, as far as is known.
        let unreadable = |file: &&String| {
            let camera = name_of(file).map(|camera| ObjectName { namespace: name.namespace.clone(), name: camera });
            camera.is_some_and(|camera| matches!(lookup::<CameraStream>(caches, &camera), Some(Err(()))))
        };
        found.keeps = found.before.keys().filter(unreadable).cloned().collect();
        found
    }

    fn validate(&self, found: &Found, settings: &Settings) -> Result<Option<Workload>, Refusal> {
        let (name, names) = (object_name(self), Names::of(self));
        validate::plan(found, Kind::CameraWorker, &name)?;
        validate::host_paths(&name.namespace, None, &self.spec.template, settings)?;
        validate::overrides(&self.spec.template, settings)?;
        let Pool { documents, uses, copies, kept_copies, .. } = Pool::of(found, &names, settings);
        // What is mounted and no longer needed stays until something else is needed: no camera is started anew for that.
        let fits = uses.iter().all(|(name, keys)| found.mounted.get(name).is_some_and(|there| there.is_superset(keys)));
        let secrets = if fits { found.mounted.clone() } else { uses };
        let revision = hash_of(&(&documents, &found.values));
        Ok(Some(Workload {
            checksum: hash_of(&secrets),
            documents,
            secrets,
            copies,
            kept_copies,
            // The worker sees for itself that a value has changed.
            secrets_checksum: String::new(),
            placement: self.spec.placement.clone(),
            template: self.spec.template.clone(),
            args: follow_args(),
            buffers: None,
            ..validate::workload(self, found, Runtime::Shared { revision }, Program::worker(settings))
        }))
    }

    fn figures(&self, observed: &Observed, old: &CameraWorkerStatus) -> CameraWorkerStatus {
        let mut standing = observed.pods.iter().filter(|pod| !pod.leaving && !pod.finished);
        let report = standing.clone().find_map(|pod| pod.report.as_ref()?.as_ref().ok());
        let ready = report.and_then(|report| report.figures.int("camerasReady")?.try_into().ok());
        let unknown = if observed.pods.is_empty() { Some(0) } else { old.cameras_ready };
        CameraWorkerStatus {
            cameras: Some(observed.users),
            cameras_ready: ready.or(unknown),
            node: observe::nodes(&observed.pods),
            pod: standing.next().map(|pod| pod.name.clone()),
            ..CameraWorkerStatus::default()
        }
    }

    fn with_conditions(
        status: CameraWorkerStatus,
        conditions: Vec<Condition>,
        observed_generation: Option<i64>,
    ) -> CameraWorkerStatus {
        CameraWorkerStatus { conditions, observed_generation, ..status }
    }
}

/// What a worker is to run.
#[derive(Default)]
struct Pool {
    /// The documents, by their files' names.
    documents: BTreeMap<String, String>,
    /// The Secrets that they need.
    uses: SecretUses,
    /// Those of them that are copies from another namespace.
    copies: BTreeMap<String, Loan>,
    /// Copies that stay as they are.
    kept_copies: BTreeSet<String>,
    /// Some keep the file that they had.
    kept: bool,
}

/// What a camera would be alone.
fn validated(guest: &Guest, host: &Found, settings: &Settings) -> Result<Workload, Refusal> {
    let mut found = guest.found.clone();
    (found.values, found.originals) = (host.values.clone(), host.originals.clone());
    guest.camera.validate(&found, settings)?.ok_or_else(validate::undecided)
}

/// Whether the worker has a camera with the connection that it names now.
fn runs_with_its_connection(guest: &Guest, host: &Found) -> bool {
    let before = host.before.get(&file(CameraStream::NAME, &guest.camera.name_any()));
    let documents = before.map(|text| documents(text)).unwrap_or_default();
    let reference = json!(guest.camera.spec.kafka.connection_ref);
    documents.iter().any(|document| document["spec"]["kafka"]["connectionRef"] == reference)
}

impl Pool {
    fn of(found: &Found, names: &Names, settings: &Settings) -> Self {
        let mut pool = Pool::default();
        let mut withdrawn = BTreeSet::new();
        found.documents.iter().for_each(|document| pool.put(document));
        for file in &found.keeps {
            pool.keep(file, found);
        }
        for guest in &found.guests {
            let paused = is_paused(&guest.camera);
            match validated(guest, found, settings) {
                Ok(workload) if !paused => {
                    pool.uses = merged(std::mem::take(&mut pool.uses), guest.found.uses.clone());
                    pool.copies.extend(guest.found.borrowed.clone());
                    if !workload.suspended && !guest.elsewhere {
                        let of_guest = |document: &Value| {
                            document["kind"] == CameraStream::NAME
                                && document["metadata"]["name"] == guest.camera.name_any()
                        };
                        for mut document in guest.found.documents.clone() {
                            if of_guest(&document) {
                                let restart = guest.camera.annotations().get(RESTART);
                                let revision = guest::revision(&guest.found, restart);
                                document["metadata"]["annotations"] = json!({REVISION: revision});
                                if let Some(restart) = restart {
                                    document["metadata"]["annotations"][RESTART] = json!(restart);
                                }
                            }
                            pool.put(&document);
                        }
                    }
                }
                // Whoever lent the connection wants it back.
                Err(_) if guest.found.withheld.is_some() && runs_with_its_connection(guest, found) => {
                    withdrawn.extend(guest.found.withheld.iter().map(|connection| names.copy(connection)));
                }
                Ok(_) | Err(_) => pool.keep(&file(CameraStream::NAME, &guest.camera.name_any()), found),
            }
        }
        if pool.kept {
            // Nobody knows any more which of the connections and Secrets they need.
            let connections = found.before.iter().filter(|(file, _)| file.starts_with(CONNECTION));
            for (file, text) in connections {
                pool.documents.entry(file.clone()).or_insert_with(|| text.clone());
            }
            pool.uses = merged(pool.uses, found.mounted.clone());
            let mounted = found.mounted.keys().filter_map(|source| match source {
                Source::Secret(name) => Some(name.clone()),
                Source::ConfigMap(_) => None,
            });
            pool.kept_copies = mounted.filter(|name| !withdrawn.contains(name)).collect();
        }
        pool
    }

    fn put(&mut self, document: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (kind, name) = (text(&document["kind"]), text(&document["metadata"]["name"]));
        // A name has no `_`.
        let file = match document["spec"]["allowedNamespaces"].is_null() {
            true => file(&kind, &name),
            false => file(&kind, &format!("{}_{name}", text(&document["metadata"]["namespace"]))),
        };
        self.documents.insert(file, serde_yaml::to_string(document).unwrap_or_default());
    }

    /// Leaves a camera's file as it is, if it has one.
    fn keep(&mut self, file: &str, found: &Found) {
        if let Some(text) = found.before.get(file) {
            self.documents.insert(file.to_owned(), text.clone());
            self.kept = true;
        }
    }
}

/// What the files of connections begin with.
const CONNECTION: &str = "kafkaconnection.";
/// What the files of cameras begin with.
const CAMERA: &str = "camerastream.";

/// The file of a resource.
fn file(kind: &str, name: &str) -> String {
    format!("{}.{name}.yaml", kind.to_lowercase())
}

/// The camera that a file is about.
fn name_of(file: &str) -> Option<String> {
    Some(file.strip_prefix(CAMERA)?.strip_suffix(".yaml")?.to_owned())
}

impl WorthWriting for CameraWorkerStatus {
    fn matters(&self, old: &Self) -> bool {
        conditions_matter(&self.conditions, &old.conditions)
            || self.observed_generation != old.observed_generation
            || (self.cameras, self.cameras_ready) != (old.cameras, old.cameras_ready)
            || (&self.node, &self.pod) != (&old.node, &old.pod)
    }
}
