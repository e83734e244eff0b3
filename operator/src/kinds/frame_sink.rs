//! `FrameSink`: pods that share a topic's partitions and write them to a disk.

use std::sync::Arc;

use edgereel_crds::{
    CameraStream, FrameSink, FrameSinkSpec,
    camera_stream::EnsureTopic,
    check::{FileNames, Resource as Checked},
    common::ConnectionRef,
    declared::Declared,
    fields::Fields,
    frame_sink::From,
    name::{Kind, ObjectName},
    plan::SinkPlan,
    resource_status::FrameSinkStatus,
    secret_uses::{merged, sink_secrets},
    status::Reason,
    storage::Storage,
    units::ByteSize,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use serde_json::json;

use crate::{
    cache::{Caches, Guarded},
    controller::{
        dereference::{Found, RIVAL, elsewhere, lookup, object_name, older},
        figures::{
            WorthWriting, amount_matters, conditions_matter, count_matters, kilobytes, of_workers, rate_matters,
            rounded,
        },
        managed::{Managed, Observed},
        names::Names,
        observe::{self, PodView},
        program::{DATA, Program, REPLICA, replica},
        validate::{self, Refusal},
        workload::{Runs, Runtime, Workload},
    },
    hash::hash_of,
    settings::Settings,
};

impl Managed for FrameSink {
    const RUNS: Option<Runs> = Some(Runs::Sharded);
    const MEETS_ACROSS_NAMESPACES: bool = true;

    /// Its stream, and its own or its stream's connection. Older sinks must not share its group or its files.
    fn dereference(&self, caches: &Caches) -> Found {
        let mut found = Found::default();
        let name = object_name(self);
        let seat = Names::of(self);
        let stream = add_stream(&mut found, &self.spec, &name.namespace, caches);
        let of_stream = stream.and_then(|stream| found.connection(&stream, &name.namespace, &seat, caches));
        let uses = match &self.spec.kafka {
            Some(own) => found.connection(&own.connection_ref, &name.namespace, &seat, caches),
            None => of_stream,
        };
        found.uses = merged(sink_secrets(&self.spec), uses.unwrap_or_default());
        for rival in rivals(self, caches) {
            let Ok(rival) = &rival.0 else { continue };
            if older(rival, self) {
                add_rival(&mut found, rival, caches);
            } else if files(rival, caches).zip(files(self, caches)).is_some_and(|(a, b)| a.could_meet(&b)) {
                // Whoever looks into one namespace sees nothing of it.
                found.remarks.push(format!(
                    "{} wants to write files of the same names into the same directory of a node; it came later, and waits",
                    Kind::FrameSink.label(&object_name(rival))
                ));
            }
        }
        // A worker that is started meanwhile was asked for.
        let asked = FrameSinkSpec { replicas: self.spec.replicas.max(1), ..self.spec.clone() };
        let document = found.document(Self::NAME, &name, &asked);
        found.resources.sinks.push(Checked { name, spec: self.spec.clone(), document });
        found
    }

    fn validate(&self, found: &Found, settings: &Settings) -> Result<Option<Workload>, Refusal> {
        let name = object_name(self);
        validate::connections(found, settings)?;
        let plan = validate::plan(found, Kind::FrameSink, &name)?;
        let plan = plan.sinks.into_iter().find(|plan| plan.name == name).ok_or_else(validate::undecided)?;
        placement(&self.spec)?;
        validate::logins(self, found)?;
        validate::host_paths(&name.namespace, Some(&self.spec.storage), &self.spec.template, settings)?;
        validate::overrides(&self.spec.template, settings)?;
        validate::values(found)?;
        let SinkPlan { spec, connection, topics, group, camera, .. } = &plan;
        let checksum = hash_of(&json!({
            "spec": validate::running(&of_any_size(spec)),
            "connection": [connection.name.to_string(), connection.spec.set()],
            "topics": topics,
            "group": group,
            "camera": camera,
        }));
        let most = partitions(&self.spec.from, found).unwrap_or(i32::MAX);
        let asked = spec.replicas.max(0);
        let runtime = Runtime::Sharded { replicas: asked.min(most), storage: spec.storage.clone() };
        let mut workload = Workload {
            checksum,
            placement: spec.placement.clone(),
            template: spec.template.clone(),
            capped_from: (asked > most).then_some(asked),
            suspended: spec.suspend,
            buffers: Some(256 << 20),
            ..validate::workload(self, found, runtime, Program::worker(settings))
        };
        workload.args.extend([format!("--storage-root={DATA}"), format!("--replica=$({REPLICA})")]);
        workload.env.push(replica());
        Ok(Some(workload))
    }

    fn figures(&self, observed: &Observed, old: &FrameSinkStatus) -> FrameSinkStatus {
        let names = Names::of(self);
        let selector: Vec<String> = names.selector().iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut status = FrameSinkStatus {
            node: observe::nodes(&observed.pods),
            replicas: Some(observed.rollout.current),
            ready_replicas: Some(observed.rollout.ready),
            selector: Some(selector.join(",")),
            ..FrameSinkStatus::default()
        };
        figures(&observed.pods, old, &mut status);
        status
    }

    fn with_conditions(
        status: FrameSinkStatus,
        conditions: Vec<Condition>,
        observed_generation: Option<i64>,
    ) -> FrameSinkStatus {
        FrameSinkStatus { conditions, observed_generation, ..status }
    }
}

/// The spec without the size of its claims: they grow while the workers run on.
fn of_any_size(spec: &FrameSinkSpec) -> FrameSinkSpec {
    let mut spec = spec.clone();
    if let Storage::VolumeClaimTemplate(claim) = &mut spec.storage {
        claim.size = ByteSize(0);
    }
    spec
}

/// Adds the stream that a sink names, and gives its connection.
fn add_stream(found: &mut Found, spec: &FrameSinkSpec, namespace: &str, caches: &Caches) -> Option<ConnectionRef> {
    let From::StreamRef(reference) = &spec.from else { return None };
    let name = ObjectName { namespace: namespace.into(), name: reference.name.clone() };
    match lookup::<CameraStream>(caches, &name)? {
        Ok(stream) => {
            let connection = stream.spec.kafka.connection_ref.clone();
            let document = found.document(CameraStream::NAME, &name, &stream.spec);
            let spec = elsewhere(stream.spec);
            found.resources.cameras.push(Checked { name, spec, document });
            Some(connection)
        }
        Err(()) => {
            found.unreadable(Kind::CameraStream, name);
            None
        }
    }
}

/// Sinks that could share a group or a file with this one: older ones of its namespace, and all whose directories of nodes
/// meet, wherever they are. A first sieve, for there may be hundreds: the check looks closely.
fn rivals(sink: &FrameSink, caches: &Caches) -> Vec<Arc<Guarded<FrameSink>>> {
    caches.of::<FrameSink>().state_filter(|other| {
        other.0.as_ref().is_ok_and(|other| {
            let (mine, theirs) = (&sink.spec, &other.spec);
            match other.namespace() == sink.namespace() {
                true => {
                    other.name_any() != sink.name_any()
                        && older(other, sink)
                        && (may_share_group(theirs, mine) || may_share_files(theirs, mine))
                }
                false => matches!(theirs.storage, Storage::HostPath(_)) && may_share_files(theirs, mine),
            }
        })
    })
}

fn may_share_group(a: &FrameSinkSpec, b: &FrameSinkSpec) -> bool {
    a.group.is_some() && a.group == b.group
}

/// Whether one writes into the other's directory, or below it.
fn may_share_files(a: &FrameSinkSpec, b: &FrameSinkSpec) -> bool {
    let roots = match (&a.storage, &b.storage) {
        (Storage::HostPath(mine), Storage::HostPath(theirs)) if may_share_node(a, b) => {
            (mine.path.as_str(), theirs.path.as_str())
        }
        (Storage::PersistentVolumeClaim(a), Storage::PersistentVolumeClaim(b)) if a == b => ("", ""),
        _ => return false,
    };
    let (mut a, mut b) = (names(roots.0, a.output.directory()), names(roots.1, b.output.directory()));
    loop {
        match (a.next(), b.next()) {
            (Some(a), Some(b)) if a == b => {}
            (Some(_), Some(_)) => return false,
            _ => return true,
        }
    }
}

fn may_share_node(a: &FrameSinkSpec, b: &FrameSinkSpec) -> bool {
    a.placement.as_ref().zip(b.placement.as_ref()).is_none_or(|(a, b)| a.may_share_node(b))
}

/// The names on the way to a directory below a root.
fn names<'a>(root: &'a str, directory: &'a str) -> impl Iterator<Item = &'a str> {
    root.split('/').chain(directory.split('/')).filter(|name| !name.is_empty() && *name != ".")
}

/// The files of a sink on its node.
fn files(sink: &FrameSink, caches: &Caches) -> Option<FileNames> {
    let Storage::HostPath(host) = &sink.spec.storage else { return None };
    let topics = match &sink.spec.from {
        From::Topics(topics) => topics.clone(),
        From::StreamRef(stream) => {
            let namespace = object_name(sink).namespace;
            let stream = lookup::<CameraStream>(caches, &ObjectName { namespace, name: stream.name.clone() })?.ok()?;
            vec![stream.spec.topic.name]
        }
    };
    let output = &sink.spec.output;
    Some(FileNames::of_output(output, &topics).below(output.directory()).below(&host.path))
}

fn add_rival(found: &mut Found, rival: &FrameSink, caches: &Caches) {
    let namespace = &object_name(rival).namespace;
    let mut references: Vec<_> = rival.spec.kafka.iter().map(|kafka| kafka.connection_ref.clone()).collect();
    if let From::StreamRef(reference) = &rival.spec.from {
        let name = ObjectName { namespace: namespace.into(), name: reference.name.clone() };
        let Some(Ok(stream)) = lookup::<CameraStream>(caches, &name) else { return };
        references.push(stream.spec.kafka.connection_ref.clone());
        if !found.resources.cameras.iter().any(|known| known.name == name) {
            found.resources.cameras.push(Checked { name, spec: elsewhere(stream.spec), document: RIVAL });
        }
    }
    if references.iter().all(|reference| found.rival_connection(reference, namespace, caches)) {
        let rival = Checked { name: object_name(rival), spec: rival.spec.clone(), document: RIVAL };
        found.resources.sinks.push(rival);
    }
}

/// Whether the sink's pods stay with what they recorded. The API server's rule says the same; this one is for resources
/// from before it.
fn placement(spec: &FrameSinkSpec) -> Result<(), Refusal> {
    if spec.stays_with_its_data() {
        return Ok(());
    }
    let message = "spec.placement: it names no node, and a `hostPath` is left behind when a pod moves to another; add \
                   `placement: {nodes: [NODE]}`, a `nodeSelector`, or a required node affinity";
    Err(Refusal::new(Reason::InvalidConfiguration, message))
}

/// How many partitions a sink's topic has, where a camera says it for certain.
fn partitions(from: &From, found: &Found) -> Option<i32> {
    let From::StreamRef(reference) = from else { return None };
    let stream = found.resources.cameras.iter().find(|c| c.document != RIVAL && c.name.name == reference.name)?;
    // With `exists`, nobody looks at the number.
    (stream.spec.topic.ensure != EnsureTopic::Exists).then_some(stream.spec.topic.partitions)
}

/// Fills in a sink's figures, added up over its workers; where one says nothing, the last ones stay, but for
/// the lag: an old one is not known now.
pub fn figures(pods: &[PodView], old: &FrameSinkStatus, status: &mut FrameSinkStatus) {
    match of_workers(pods) {
        Some(figures) => {
            status.fps = figures.number("fps").map(rounded);
            status.frame_kilobytes = figures.uint("frameBytes").and_then(kilobytes);
            status.frames_stored = figures.int("framesStored");
            status.records_dead_lettered = figures.int("recordsDeadLettered");
            status.records_lost = figures.int("recordsLost");
            // One that is not known makes the sum unknown, and not smaller.
            status.lag_records = figures.int("lagRecords");
            status.kept_days = figures.number("keptDays").map(rounded);
            status.kept_megabytes = figures.int("keptBytes").map(|bytes| bytes / 1_000_000);
            status.room_days = figures.number("roomDays").map(rounded);
            status.unarchived_files = figures.int("unarchivedFiles");
            status.unarchived_megabytes = figures.int("unarchivedBytes").map(|bytes| bytes / 1_000_000);
            status.disk_used = pods.iter().filter_map(disk_used).max().map(|percent| format!("{percent}%"));
        }
        None => {
            status.fps = (!pods.is_empty()).then_some(old.fps).flatten();
            status.frame_kilobytes = old.frame_kilobytes;
            status.frames_stored = old.frames_stored;
            status.records_dead_lettered = old.records_dead_lettered;
            status.records_lost = old.records_lost;
            status.kept_days = old.kept_days;
            status.kept_megabytes = old.kept_megabytes;
            status.room_days = old.room_days;
            status.unarchived_files = old.unarchived_files;
            status.unarchived_megabytes = old.unarchived_megabytes;
            status.disk_used = old.disk_used.clone();
        }
    }
}

/// How full a worker's disk is, in percent. Of several disks the fullest counts: no sum says that.
fn disk_used(pod: &PodView) -> Option<i64> {
    let figures = &pod.report.as_ref().filter(|_| !pod.leaving)?.as_ref().ok()?.figures;
    let (free, size) = (figures.int("diskFreeBytes")?, figures.int("diskSizeBytes")?);
    (size > 0).then(|| 100 - free * 100 / size)
}

impl WorthWriting for FrameSinkStatus {
    fn matters(&self, old: &Self) -> bool {
        let percent = |text: &Option<String>| text.as_ref().and_then(|t| t.trim_end_matches('%').parse::<i64>().ok());
        let disk = match (percent(&self.disk_used), percent(&old.disk_used)) {
            (Some(new), Some(old)) => (new - old).abs() >= 2,
            (new, old) => new.is_some() != old.is_some(),
        };
        conditions_matter(&self.conditions, &old.conditions)
            || self.observed_generation != old.observed_generation
            || (self.replicas, self.ready_replicas) != (old.replicas, old.ready_replicas)
            || self.selector != old.selector
            || self.node != old.node
            || rate_matters(self.fps, old.fps)
            || amount_matters(self.frame_kilobytes, old.frame_kilobytes, 5)
            || amount_matters(self.lag_records, old.lag_records, 100)
            || count_matters(self.frames_stored, old.frames_stored, false)
            || count_matters(self.records_dead_lettered, old.records_dead_lettered, true)
            || count_matters(self.records_lost, old.records_lost, true)
            || rate_matters(self.kept_days, old.kept_days)
            || amount_matters(self.kept_megabytes, old.kept_megabytes, 100)
            || rate_matters(self.room_days, old.room_days)
            || amount_matters(self.unarchived_files, old.unarchived_files, 2)
            || amount_matters(self.unarchived_megabytes, old.unarchived_megabytes, 100)
            || disk
    }
}
