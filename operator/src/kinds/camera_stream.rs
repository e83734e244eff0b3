//! `CameraStream`: one pod that captures a camera.

use edgereel_crds::{
    CameraStream, CameraStreamSpec, CameraWorker, CameraWorkerSpec,
    camera_stream::Source,
    check::Resource as Checked,
    declared::Declared,
    device::DeviceSource,
    directory::AfterSent,
    fields::Fields,
    name::{Kind, ObjectName},
    placement::Placement,
    plan::CameraPlan,
    resource_status::CameraStreamStatus,
    schedule::Schedule,
    secret_uses::{camera_secrets, merged},
    status::Reason,
    storage::FolderStorage,
};
use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::apis::meta::v1::Condition};
use kube::ResourceExt;
use serde_json::json;

use crate::{
    cache::Caches,
    controller::{
        dereference::{Found, RIVAL, elsewhere, lookup, object_name, older},
        figures::{WorthWriting, amount_matters, conditions_matter, count_matters, kilobytes, rate_matters, rounded},
        guest::Host,
        managed::{Managed, Observed},
        names::Names,
        observe::{self, PodView, Scheduled},
        program::{DATA, Program},
        validate::{self, Refusal},
        workload::{Batch, Mounted, Runs, Runtime, Workload},
    },
    hash::hash_of,
    settings::Settings,
};

impl Managed for CameraStream {
    const RUNS: Option<Runs> = Some(Runs::SingletonOrBatch);

    /// Its connection. Older cameras that fill the same topic have to agree with it.
    fn dereference(&self, caches: &Caches) -> Found {
        let mut found = Found::default();
        let name = object_name(self);
        let rivals = caches.of::<CameraStream>().state_filter(|other| {
            other.0.as_ref().is_ok_and(|other| {
                other.namespace() == self.namespace()
                    && other.spec.topic.name == self.spec.topic.name
                    && other.spec.topic.partitions != self.spec.topic.partitions
                    && older(other, self)
            })
        });
        for rival in rivals.iter().filter_map(|r| r.0.as_ref().ok()) {
            if found.rival_connection(&rival.spec.kafka.connection_ref, &name.namespace, caches) {
                let rival = Checked { name: object_name(rival), spec: elsewhere(rival.spec.clone()), document: RIVAL };
                found.resources.cameras.push(rival);
            }
        }
        if let Some(worker) = &self.spec.worker_ref {
            let worker = ObjectName { namespace: name.namespace.clone(), name: worker.name.clone() };
            match lookup::<CameraWorker>(caches, &worker) {
                Some(Ok(there)) => {
                    // Its own problems are told at its place.
                    let spec = CameraWorkerSpec::default();
                    found.resources.workers.push(Checked { name: object_name(&there), spec, document: RIVAL });
                }
                Some(Err(())) => found.unreadable(Kind::CameraWorker, worker),
                None => {}
            }
        }
        // What is copied is where the pods are.
        let seat = match &self.spec.worker_ref {
            Some(worker) => Names::named::<CameraWorker>(&worker.name),
            None => Names::of(self),
        };
        let uses = found.connection(&self.spec.kafka.connection_ref, &name.namespace, &seat, caches);
        found.uses = merged(camera_secrets(&self.spec), uses.unwrap_or_default());
        let document = found.document(Self::NAME, &name, &self.spec);
        found.resources.cameras.push(Checked { name, spec: self.spec.clone(), document });
        found
    }

    fn validate(&self, found: &Found, settings: &Settings) -> Result<Option<Workload>, Refusal> {
        let name = object_name(self);
        validate::connections(found, settings)?;
        let plan = validate::plan(found, Kind::CameraStream, &name)?;
        let plan = plan.cameras.into_iter().find(|plan| plan.name == name).ok_or_else(validate::undecided)?;
        validate::logins(self, found)?;
        let mounted = mounted(&self.spec);
        let storage = mounted.as_ref().map(|mounted| &mounted.storage);
        validate::host_paths(&name.namespace, storage, &self.spec.template, settings)?;
        placement(&self.spec)?;
        devices(&self.spec, settings)?;
        validate::overrides(&self.spec.template, settings)?;
        validate::values(found)?;
        let CameraPlan { spec, connection, .. } = &plan;
        let checksum = hash_of(&json!({
            "spec": validate::running(spec),
            "connection": [connection.name.to_string(), connection.spec.set()],
        }));
        let reads = mounted.is_some();
        let mut workload = Workload {
            checksum,
            mounted,
            devices: device(&self.spec).and_then(|device| device.resource.clone()).into_iter().collect(),
            placement: spec.placement.clone(),
            template: spec.template.clone(),
            suspended: spec.suspend,
            // The queue, and a frame in each step beside it.
            buffers: Some(spec.buffer.memory.0 * 2 + spec.encoding.max_frame_bytes.0 * 4),
            ..validate::workload(self, found, runtime(spec)?, Program::worker(settings))
        };
        if reads {
            workload.args.push(format!("--storage-root={DATA}"));
        }
        Ok(Some(workload))
    }

    fn figures(&self, observed: &Observed, old: &CameraStreamStatus) -> CameraStreamStatus {
        let (node, worker) = (observe::nodes(&observed.pods), observed.host.clone());
        let mut status = CameraStreamStatus { node, worker, ..CameraStreamStatus::default() };
        if let Some(schedule) = &observed.rollout.schedule {
            runs(schedule, old, &mut status);
        }
        figures(&observed.pods, old, &mut status);
        status
    }

    fn host(&self, caches: &Caches) -> Option<Host> {
        let worker = self.spec.worker_ref.as_ref()?;
        Some(Host::of::<CameraWorker>(
            &ObjectName { namespace: object_name(self).namespace, name: worker.name.clone() },
            caches,
        ))
    }

    fn was_in(&self, caches: &Caches) -> Option<Host> {
        let name = self.status.as_ref()?.worker.clone()?;
        Some(Host::of::<CameraWorker>(&ObjectName { namespace: object_name(self).namespace, name }, caches))
    }

    fn with_conditions(
        status: CameraStreamStatus,
        conditions: Vec<Condition>,
        observed_generation: Option<i64>,
    ) -> CameraStreamStatus {
        CameraStreamStatus { conditions, observed_generation, ..status }
    }
}

/// How often a pod that reads a folder to its end may fail before that is given up. It tries again by itself as long as it runs.
const BACKOFF: i32 = 6;

/// A camera runs on; what has an end, to that.
fn runtime(spec: &CameraStreamSpec) -> Result<Runtime, Refusal> {
    if !spec.ends() {
        return Ok(Runtime::Singleton);
    }
    let schedule = spec.schedule.as_deref().map(|schedule| Schedule::new(schedule, spec.time_zone.as_deref()));
    let schedule = schedule.transpose();
    let schedule = schedule.map_err(|wrong| Refusal::new(Reason::InvalidConfiguration, format!("spec.{wrong}")))?;
    Ok(Runtime::Batch(Batch { schedule, completions: 1, backoff: BACKOFF, deadline: None }))
}

/// The disk with the files. It is written to where files go, and where it has the ledger.
fn mounted(spec: &CameraStreamSpec) -> Option<Mounted> {
    let read_only = match &spec.source {
        Source::Directory(directory) => directory.after_sent == AfterSent::Keep && directory.ledger.is_some(),
        Source::File(file) => file.repeat || file.ledger.is_some(),
        Source::Mjpeg(_) | Source::Snapshot(_) | Source::Rtsp(_) | Source::Device(_) | Source::Synthetic(_) => {
            return None;
        }
    };
    Some(Mounted { storage: spec.storage.as_ref()?.into(), read_only })
}

/// On another node, the directory of one is another one.
fn placement(spec: &CameraStreamSpec) -> Result<(), Refusal> {
    let pinned = spec.placement.as_ref().is_some_and(Placement::pins);
    match &spec.storage {
        Some(FolderStorage::HostPath(_)) if !pinned => {
            let message = "spec.placement: it names no node, and a `hostPath` is another folder on another node; add \
                           `placement: {nodes: [NODE]}`, a `nodeSelector`, or a required node affinity";
            Err(Refusal::new(Reason::InvalidConfiguration, message))
        }
        _ => Ok(()),
    }
}

/// Fills in what there is to say of a schedule. How the last run ended stays, until the next has.
fn runs(schedule: &Scheduled, old: &CameraStreamStatus, status: &mut CameraStreamStatus) {
    status.next_run_time = schedule.next.map(|time| time.to_string());
    status.last_run_time = schedule.last.map(|time| time.to_string());
    let ended = schedule.run.as_ref().and_then(|run| run.end.clone());
    status.last_run = match ended {
        Some(Ok(words) | Err(words)) => Some(words),
        None => old.last_run.clone(),
    };
}

/// The device that it captures from, if it does.
fn device(spec: &CameraStreamSpec) -> Option<&DeviceSource> {
    match &spec.source {
        Source::Device(device) => Some(device),
        Source::Mjpeg(_)
        | Source::Snapshot(_)
        | Source::Rtsp(_)
        | Source::Directory(_)
        | Source::File(_)
        | Source::Synthetic(_) => None,
    }
}

/// The kernel lets a container open the devices that it was given alone, and a pod is given one by a device plugin. Whoever has
/// another way says so in the pod's own terms.
fn devices(spec: &CameraStreamSpec, settings: &Settings) -> Result<(), Refusal> {
    let Some(device) = device(spec) else { return Ok(()) };
    let extended = |resources: &ResourceRequirements| {
        let limits = resources.limits.iter().flatten();
        limits.into_iter().any(|(name, _)| name.contains('/')) || resources.claims.is_some()
    };
    let declared = spec.template.resources.as_ref().is_some_and(extended);
    let overridden = spec.template.pod_overrides.is_some() || !settings.worker_defaults.is_empty();
    if device.resource.is_some() || declared || overridden {
        return Ok(());
    }
    let message = "spec.source.device.resource: it is missing, and no pod may open a device of its node by itself; install a \
                   device plugin (generic-device-plugin, Akri, smarter-device-manager) and name the resource that it \
                   offers, as in `resource: squat.ai/video`";
    Err(Refusal::new(Reason::InvalidConfiguration, message))
}

/// Fills in a camera's figures; where its worker says nothing, the last ones stay.
fn figures(pods: &[PodView], old: &CameraStreamStatus, status: &mut CameraStreamStatus) {
    let reports = pods.iter().filter(|pod| !pod.leaving).filter_map(|pod| pod.report.as_ref()?.as_ref().ok());
    match reports.map(|report| &report.figures).next_back() {
        Some(figures) => {
            status.fps = figures.number("fps").map(rounded);
            status.frame_kilobytes = figures.uint("frameBytes").and_then(kilobytes);
            status.frames_acknowledged = figures.int("framesAcknowledged");
            status.frames_dropped = figures.int("framesDropped");
            let seconds = figures.moment("lastFrameTime").map(|time| time.as_second());
            status.last_frame_time =
                seconds.and_then(|s| jiff::Timestamp::from_second(s).ok()).map(|time| time.to_string());
        }
        None => {
            // Without a pod nothing is captured; what was sent is history.
            status.fps = pods.iter().any(|pod| !pod.finished).then_some(old.fps).flatten();
            status.frame_kilobytes = old.frame_kilobytes;
            status.frames_acknowledged = old.frames_acknowledged;
            status.frames_dropped = old.frames_dropped;
            status.last_frame_time = old.last_frame_time.clone();
        }
    }
}

impl WorthWriting for CameraStreamStatus {
    fn matters(&self, old: &Self) -> bool {
        conditions_matter(&self.conditions, &old.conditions)
            || self.observed_generation != old.observed_generation
            || (&self.node, &self.worker) != (&old.node, &old.worker)
            || (&self.next_run_time, &self.last_run_time) != (&old.next_run_time, &old.last_run_time)
            || self.last_run != old.last_run
            || rate_matters(self.fps, old.fps)
            || amount_matters(self.frame_kilobytes, old.frame_kilobytes, 5)
            || count_matters(self.frames_acknowledged, old.frames_acknowledged, false)
            || count_matters(self.frames_dropped, old.frames_dropped, true)
    }
}
