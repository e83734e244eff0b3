//! A folder of labelled pictures to Kafka, each file once.
//!
//! A folder can wait, unlike a camera: nothing is dropped, and reading goes no faster than Kafka takes. Files go in *rounds*: read,
//! noted in the ledger, sent, acknowledged, noted again, and then moved or deleted if so wished; the next round is read while
//! the last is on its way.
//!
//! - [`finder`] says which files are to be looked at, [`names`] which never are; [`files`] opens and reads them.
//! - [`labels`] finds what a picture shows; [`leave`] does what is to be done with one that was sent.
//! - [`ledger`] knows what was sent, durably (in [`lines`]), and [`recover`] asks the topic what nobody knows after a crash.
//! - [`work`] puts them together; [`look`] looks beforehand.

pub mod files;
pub mod finder;
pub mod labels;
pub mod leave;
pub mod ledger;
pub mod lines;
pub mod look;
pub mod names;
pub mod recover;
pub mod work;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use edgereel_crds::{
    camera_stream::Source,
    check::largest_record,
    directory::DirectorySource,
    plan::CameraPlan,
    status::{ConditionStatus, ConditionType, Reason},
    storage::Storage,
};
use edgereel_kafka::topics;
use edgereel_runtime::{fault::Fault, work::on_a_thread};
use tokio::runtime::Handle;

use crate::{
    capture::{self, CaptureEnv},
    sink::{private_dir, volume},
};

/// What is known of a folder's files.
#[derive(Clone, Debug, Default)]
pub struct Files(Arc<[AtomicU64; 2]>);

impl Files {
    /// Files that are there, at the last look.
    pub fn there(&self) -> u64 {
        self.0[0].load(Ordering::Relaxed)
    }

    /// Those of them that are to be sent.
    pub fn waiting(&self) -> u64 {
        self.0[1].load(Ordering::Relaxed)
    }

    /// Files that are there, and those that are to be sent.
    pub fn set(&self, there: u64, waiting: u64) {
        self.0[0].store(there, Ordering::Relaxed);
        self.0[1].store(waiting, Ordering::Relaxed);
    }
}

/// A folder's paths on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The folder.
    pub folder: PathBuf,
    /// The directory in which the camera's own folder is.
    pub ledger: PathBuf,
    /// Where pictures go that were sent.
    pub sent: Option<PathBuf>,
    /// The list of another program.
    pub processed: Option<PathBuf>,
}

/// The folder that a camera reads, if it does.
pub fn source(plan: &CameraPlan) -> Option<&DirectorySource> {
    match &plan.spec.source {
        Source::Directory(spec) => Some(spec),
        Source::Mjpeg(_)
        | Source::Snapshot(_)
        | Source::Rtsp(_)
        | Source::Device(_)
        | Source::File(_)
        | Source::Synthetic(_) => None,
    }
}

impl Paths {
    /// Where they are; the disk has to be there.
    ///
    /// # Errors
    /// That it is not, or that only Kubernetes knows where.
    pub fn of(plan: &CameraPlan, spec: &DirectorySource, storage_root: Option<&Path>) -> Result<Self, Fault> {
        let missing =
            || Fault::new(Reason::InvalidConfiguration, "spec.storage is missing: it says on which disk the folder is");
        let (storage, known) = plan.spec.storage.as_ref().zip(plan.volume.as_ref()).ok_or_else(missing)?;
        let own = Path::new(&spec.path).join(private_dir::place_of_camera(&plan.name)?);
        let place = volume::Place { name: &plan.name, storage: Storage::from(storage), volume: known, own };
        let root = volume::find(&place, storage_root)?;
        // Without a trailing slash or a dot, so that what is below it can be told.
        let below = |path: &str| root.join(path).components().collect::<PathBuf>();
        let folder = below(&spec.path);
        Ok(Paths {
            ledger: spec.ledger.as_ref().map_or_else(|| folder.clone(), PathBuf::from),
            folder,
            sent: spec.sent_directory.as_deref().map(below),
            processed: spec.processed_files.as_deref().map(below),
        })
    }
}

/// Sends the folder's files, in its active hours, until shutdown or, without `watch`, until all are sent. An error is for the
/// supervisor: it starts again.
pub async fn run(
    plan: &CameraPlan,
    spec: &DirectorySource,
    env: CaptureEnv,
    storage_root: Option<&Path>,
    files: &Files,
) -> Result<(), Fault> {
    capture::in_hours(plan, env, |env| send(plan, spec, env, storage_root, files)).await
}

async fn send(
    plan: &CameraPlan,
    spec: &DirectorySource,
    env: CaptureEnv,
    storage_root: Option<&Path>,
    files: &Files,
) -> Result<(), Fault> {
    let unread = "read as soon as Kafka has the topic";
    env.state.set(ConditionType::CameraOnline, ConditionStatus::Unknown, Reason::KafkaConnecting, unread);
    let largest = largest_record(plan.spec.encoding.max_frame_bytes, plan.spec.encoding.format);
    let ensured = tokio::select! {
        () = env.shutdown.cancelled() => return Ok(()),
        ensured = topics::ensure(&plan.connection, &env.secrets, &plan.spec.topic, largest) => ensured,
    };
    let limit = ensured?.max_message_bytes;
    let (plan, spec, files) = (plan.clone(), spec.clone(), files.clone());
    let root = storage_root.map(Path::to_owned);
    let (name, runtime) = (format!("folder-{}", plan.name.name), Handle::current());
    on_a_thread(name, move || {
        let state = env.state.clone();
        let done = Paths::of(&plan, &spec, root.as_deref())
            .and_then(|paths| work::Work::new(&plan, &spec, paths, env, limit, files, &runtime)?.run());
        // Nobody else says that of the folder.
        if let Err(fault) = &done
            && !matches!(fault.reason, Reason::KafkaUnreachable | Reason::KafkaUnauthorized | Reason::MessageTooLarge)
        {
            state.set(ConditionType::CameraOnline, ConditionStatus::False, fault.reason, &fault.message);
        }
        done
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(directory: &str, storage: &str) -> CameraPlan {
        let text = format!(
            "apiVersion: edgereel.dev/v1alpha1\nkind: KafkaConnection\nmetadata: {{name: lab}}\n\
             spec: {{bootstrapServers: [\"127.0.0.1:9092\"]}}\n---\n\
             apiVersion: edgereel.dev/v1alpha1\nkind: CameraStream\nmetadata: {{name: labels}}\nspec:\n  \
             source: {{directory: {{{directory}}}}}\n  storage: {storage}\n  topic: {{name: t}}\n  \
             kafka: {{connectionRef: {{name: lab}}}}\n"
        );
        edgereel_crds::load(&[("f.yaml".into(), text)]).expect("sound").cameras.remove(0)
    }

    #[test]
    fn a_folder_is_below_its_volume_or_what_stands_in_for_that() {
        let dir = tempfile::tempdir().expect("a directory");
        let paths = |plan: &CameraPlan, root: Option<&Path>| Paths::of(plan, source(plan).expect("a folder"), root);
        let host = format!("{{hostPath: {{path: {}}}}}", dir.path().display());
        let claim = "{persistentVolumeClaim: {claimName: pictures}}";
        let all = "path: ./in/a/, afterSent: move, sentDirectory: sent, processedFiles: done.txt, ledger: /state";
        for (storage, root) in [(host.as_str(), None), (claim, Some(dir.path()))] {
            let found = paths(&plan(all, storage), root).expect("there");
            let expected = Paths {
                folder: dir.path().join("in/a"),
                ledger: "/state".into(),
                sent: Some(dir.path().join("sent")),
                processed: Some(dir.path().join("done.txt")),
            };
            assert_eq!(found, expected);
            let found = paths(&plan("", storage), root).expect("there");
            assert_eq!((&found.folder, &found.ledger), (&dir.path().to_path_buf(), &dir.path().to_path_buf()));
        }
        let unknown = paths(&plan("", claim), None).expect_err("unknown");
        assert!(unknown.message.contains("--storage-root"), "{unknown}");
        let missing = paths(&plan("", "{hostPath: {path: /not/here}}"), None).expect_err("missing");
        assert_eq!(missing.reason, Reason::StorageMissing);
    }
}
