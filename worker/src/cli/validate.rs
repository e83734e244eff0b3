//! `edgereel validate`: every problem of the files at once, or what each resource will do.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use edgereel_crds::{
    camera_stream::Source,
    frame_sink::Output,
    load,
    name::{Kind, WORKER},
    plan::{CameraPlan, Plan, SinkPlan},
    redact,
    storage::Storage,
};
use edgereel_runtime::{
    command::documents::{count, print_problems, read_documents},
    sibling::program::{Named, Programs, moved},
};

/// Check resources without running them: every problem at once, with its file, line, column and remedy.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgereel validate -f camera.yaml
          one file
  edgereel validate -f examples/lab
          all *.yaml, *.yml and *.json files of a directory
  kubectl get cam,fsink,kc -o yaml | edgereel validate -f -
          what a cluster has

Exit status: 0 when all is well, 1 when there are problems, 2 when the arguments
are wrong.")]
pub struct Args {
    /// Files and directories with resources; `-` is standard input.
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR", required = true, num_args = 1..)]
    pub files: Vec<PathBuf>,
    /// Another program is to run this kind, in a process for each resource.
    #[arg(long, hide = true, value_name = "KIND=PROGRAM", value_parser = moved)]
    program: Vec<(Kind, Named)>,
}

/// Checks the files and prints what was found. The exit status is 1 when there are problems.
pub fn run(args: Args) -> ExitCode {
    let read = read_documents(&args.files).and_then(|documents| Ok((load(&documents)?, documents.len())));
    match read {
        Ok((plan, files)) => {
            let programs = Programs::seen_by(WORKER.name, args.program);
            for missing in missing_programs(&plan, &programs) {
                let _ = writeln!(io::stderr(), "{missing}");
            }
            print_plan(&plan, files)
        }
        Err(problems) => {
            print_problems(&problems);
            ExitCode::FAILURE
        }
    }
}

fn print_plan(plan: &Plan, files: usize) -> ExitCode {
    let mut out = io::stdout().lock();
    let lines = describe(plan);
    for line in &lines {
        let _ = writeln!(out, "{line}");
    }
    if lines.is_empty() {
        // Most often the wrong directory: it should not look like success.
        let _ = writeln!(io::stderr(), "no camera and no sink in {}; nothing would run", count(files, "file"));
        return ExitCode::FAILURE;
    }
    let (cameras, sinks) = (count(plan.cameras.len(), "camera"), count(plan.sinks.len(), "sink"));
    let _ = writeln!(out, "{}: {cameras}, {sinks}, no problems", count(files, "file"));
    ExitCode::SUCCESS
}

/// What the files ask for is sound, but this machine cannot run it: a line for each program that is not here.
fn missing_programs(plan: &Plan, programs: &Programs) -> Vec<String> {
    let mut missing: Vec<String> = vec![];
    for planned in plan.runs() {
        let sought = programs.other(planned.kind).map(|program| program.find());
        if let Some(Err(why)) = sought {
            let line = format!("{}s cannot run on this machine: {why}", planned.kind);
            missing.extend((!missing.contains(&line)).then_some(line));
        }
    }
    missing
}

/// One line a resource: what it will do.
fn describe(plan: &Plan) -> Vec<String> {
    plan.cameras.iter().map(camera).chain(plan.sinks.iter().map(sink)).collect()
}

fn camera(plan: &CameraPlan) -> String {
    let source = match &plan.spec.source {
        Source::Mjpeg(mjpeg) => redacted(&mjpeg.url),
        Source::Snapshot(snapshot) => format!("{} every {}", redacted(&snapshot.url), snapshot.interval),
        Source::Rtsp(rtsp) => format!("{} over {}", redacted(&rtsp.url), rtsp.transport.as_str()),
        Source::Device(device) => device.path.clone(),
        Source::Directory(directory) => {
            let storage = plan.spec.storage.as_ref().map(Storage::from);
            let root = storage.as_ref().map_or(String::new(), root);
            let parts = [root.as_str(), &directory.path].into_iter().filter(|part| !part.is_empty());
            format!("pictures in {}", parts.collect::<Vec<_>>().join("/"))
        }
        Source::File(file) => {
            let storage = plan.spec.storage.as_ref().map(Storage::from);
            let root = storage.as_ref().map_or(String::new(), root);
            let parts = [root.as_str(), &file.path].into_iter().filter(|part| !part.is_empty());
            let again = if file.repeat { ", again and again" } else { "" };
            format!("videos in {}{again}", parts.collect::<Vec<_>>().join("/"))
        }
        Source::Synthetic(synthetic) => format!("synthetic {}", synthetic.size),
    };
    let rate = plan.spec.frame_rate.target.map_or(String::new(), |fps| format!(" at {fps} fps"));
    let at = plan.spec.schedule.as_ref().map_or(String::new(), |schedule| {
        format!(", at `{schedule}` {}", plan.spec.time_zone.as_deref().unwrap_or("UTC"))
    });
    let suspended = if plan.spec.suspend { " (suspended)" } else { "" };
    let (topic, kafka) = (&plan.spec.topic.name, &plan.connection.name.name);
    format!("{}: {source}{rate}{at} -> topic {topic} on {kafka}{suspended}", Kind::CameraStream.label(&plan.name))
}

fn root(storage: &Storage) -> String {
    match storage {
        Storage::HostPath(host) => host.path.trim_end_matches('/').to_owned(),
        Storage::PersistentVolumeClaim(claim) => format!("claim {}:", claim.claim_name),
        Storage::VolumeClaimTemplate(_) => "a claim for each worker:".to_owned(),
    }
}

fn sink(plan: &SinkPlan) -> String {
    let root = root(&plan.spec.storage);
    let (what, name) = match &plan.spec.output {
        Output::JpegFiles(files) => ("JPEG files", files.file_name.as_str()),
        Output::Video(video) => ("video", video.file_name()),
        Output::Dataset(dataset) => ("data set", dataset.annotations()),
    };
    let parts: Vec<&str> =
        [root.as_str(), plan.spec.output.directory(), name].into_iter().filter(|part| !part.is_empty()).collect();
    let suspended = if plan.spec.suspend { " (suspended)" } else { "" };
    let homeless = if plan.spec.stays_with_its_data() { "" } else { " (in Kubernetes it needs `placement`)" };
    let (label, topics) = (Kind::FrameSink.label(&plan.name), plan.topics.join(", "));
    let (group, kafka) = (&plan.group, &plan.connection.name.name);
    format!("{label}: topic {topics} on {kafka}, group {group} -> {what} {}{suspended}{homeless}", parts.join("/"))
}

/// The URL as it may be shown; nothing of it where it is no URL.
fn redacted(url: &str) -> String {
    url::Url::parse(url).map_or_else(|_| "a URL".into(), |parsed| redact::url(&parsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_files_say_what_each_resource_will_do() {
        let text = "
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {name: lab}
spec: {bootstrapServers: [\"localhost:9092\"]}
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: gate}
spec:
  source: {mjpeg: {url: \"http://ann:secret@gate/video?fps=5;pwd=secret\"}}
  frameRate: {target: 10}
  topic: {name: Gate}
  kafka: {connectionRef: {name: lab}}
---
apiVersion: edgereel.dev/v1alpha1
kind: FrameSink
metadata: {name: gate-video, namespace: default}
spec:
  from: {streamRef: {name: gate}}
  output: {video: {directory: archive}}
  storage: {hostPath: {path: /data}}
  placement: {nodes: [edge-1]}
  suspend: true
";
        let plan = load(&[("lab.yaml".into(), text.into())]).expect("sound");
        let homeless = load(&[("lab.yaml".into(), text.replace("placement: {nodes: [edge-1]}", "replicas: 1"))]);
        let described = describe(&homeless.expect("sound on one machine"));
        assert!(described[1].ends_with(".avi (suspended) (in Kubernetes it needs `placement`)"), "{described:?}");
        let programs = |moved| Programs::seen_by("edgereel", moved);
        assert_eq!(missing_programs(&plan, &programs(vec![])), Vec::<String>::new());
        let nowhere = Named { name: "edgereel-nowhere".into(), package: Some("edgereel-nowhere") };
        let missing = missing_programs(&plan, &programs(vec![(Kind::FrameSink, nowhere)]));
        let said = "FrameSinks cannot run on this machine: `edgereel-nowhere`, which does this work, is neither";
        assert!(missing.len() == 1 && missing[0].starts_with(said), "{missing:?}");
        assert_eq!(
            describe(&plan),
            [
                "CameraStream/gate: http://gate/video?fps=5;pwd=*** at 10 fps -> topic Gate on lab",
                "FrameSink/gate-video: topic Gate on lab, group edgereel.default.gate-video -> video \
                 /data/archive/{topic}.avi (suspended)",
            ]
        );
    }
}
