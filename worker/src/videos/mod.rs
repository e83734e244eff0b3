//! Videos and sequences of pictures to Kafka, each frame once; or again and again, as a camera.
//!
//! - [`listing`] says what there is to read, and in which order; [`choice`] which frames of it are wanted.
//! - [`reader`] reads, on a [`thread`] of its own; [`progress`] knows how far each file has come, durably, and [`sent`] what is on its
//!   way.
//! - [`work`] sends; [`live`] is what is repeated, as a source of the capture. [`look`] looks beforehand.

pub mod choice;
pub mod listing;
pub mod live;
pub mod look;
pub mod progress;
pub mod reader;
pub mod sent;
pub mod thread;
pub mod work;

use std::path::{Path, PathBuf};

use edgereel_crds::{
    camera_stream::{CameraStreamSpec, Source},
    check::largest_record,
    file::FileSource,
    plan::CameraPlan,
    status::{ConditionStatus, ConditionType, Reason},
    storage::Storage,
};
use edgereel_kafka::topics;
use edgereel_runtime::{
    fault::Fault,
    work::{Surroundings, on_a_thread},
};
use tokio::runtime::Handle;

use self::{listing::Sought, reader::Settings, thread::Hung, work::Work};
use crate::{
    capture::{self, CaptureEnv},
    folder::{Files, files::Folder},
    sink::{private_dir, volume},
    source::{largest_picture, media::Wanted},
};

/// The files that a camera reads, if it does.
pub fn source(plan: &CameraPlan) -> Option<&FileSource> {
    match &plan.spec.source {
        Source::File(spec) => Some(spec),
        Source::Mjpeg(_)
        | Source::Snapshot(_)
        | Source::Rtsp(_)
        | Source::Device(_)
        | Source::Directory(_)
        | Source::Synthetic(_) => None,
    }
}

/// Where files are on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The folder that they are in.
    pub folder: PathBuf,
    /// What of it is meant.
    pub sought: Sought,
    /// The directory in which the camera's own folder is.
    pub ledger: PathBuf,
}

impl Places {
    /// Where they are; the disk has to be there.
    ///
    /// # Errors
    /// That it is not, or that only Kubernetes knows where.
    pub fn of(plan: &CameraPlan, spec: &FileSource, storage_root: Option<&Path>) -> Result<Self, Fault> {
        let invalid = |message: String| Fault::new(Reason::InvalidConfiguration, message);
        let missing = || invalid("spec.storage is missing: it says on which disk the files are".into());
        let (storage, known) = plan.spec.storage.as_ref().zip(plan.volume.as_ref()).ok_or_else(missing)?;
        let (below, pattern) = spec.parts().map_err(|why| invalid(format!("spec.source.file.path: {why}")))?;
        let own = Path::new(&below).join(private_dir::place_of_camera(&plan.name)?);
        let place = volume::Place { name: &plan.name, storage: Storage::from(storage), volume: known, own };
        let path: PathBuf = volume::find(&place, storage_root)?.join(&below).components().collect();
        let (folder, sought) = match pattern {
            Some(pattern) => (path, Sought::Matching(pattern)),
            None if path.is_dir() => (path, Sought::Usual),
            None => match (path.exists(), path.parent(), path.file_name()) {
                (true, Some(above), Some(name)) => (above.to_owned(), Sought::One(name.into())),
                _ => {
                    let words = format!(
                        "{}: there is no such file or folder: check `source.file.path`, or mount the disk",
                        path.display()
                    );
                    return Err(Fault::new(Reason::StorageMissing, words));
                }
            },
        };
        Ok(Places { ledger: spec.ledger.as_ref().map_or_else(|| folder.clone(), PathBuf::from), folder, sought })
    }

    fn open(&self) -> Result<Folder, Fault> {
        Folder::open(&self.folder, None)
    }
}

fn settings(spec: &FileSource, camera: &CameraStreamSpec) -> Settings {
    let pictures = Wanted {
        largest: largest_picture(&camera.encoding).as_usize(),
        frame_rate: camera.frame_rate.clone(),
        quality: camera.encoding.quality,
        key_frames_only: false,
    };
    Settings {
        wanted: choice::Wanted::of(spec, camera),
        pictures,
        pictures_per_second: spec.pictures_per_second.clamp(0.001, 1000.0),
    }
}

/// What outlives a run: figures, and a read that hangs.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Files that are there, and that wait.
    pub files: Files,
    hung: Hung,
}

/// Sends the frames of a camera's files: once, until all are sent; or again and again until shutdown. An error is for the
/// supervisor: it starts again.
pub async fn run(
    plan: &CameraPlan,
    spec: &FileSource,
    env: CaptureEnv,
    around: &Surroundings,
    kept: &Kept,
) -> Result<(), Fault> {
    let root = around.storage_root.as_deref();
    if spec.repeat {
        let open = |_: &CaptureEnv| Ok(Box::new(live::Live::new(plan, spec, root)) as Box<dyn crate::source::Source>);
        return capture::run_from(plan, env, open).await;
    }
    capture::in_hours(plan, env, |env| send(plan, spec, env, root, kept)).await
}

async fn send(
    plan: &CameraPlan,
    spec: &FileSource,
    env: CaptureEnv,
    storage_root: Option<&Path>,
    kept: &Kept,
) -> Result<(), Fault> {
    let unread = "read as soon as Kafka has the topic";
    env.state.set(ConditionType::CameraOnline, ConditionStatus::Unknown, Reason::KafkaConnecting, unread);
    let largest = largest_record(plan.spec.encoding.max_frame_bytes, plan.spec.encoding.format);
    let ensured = tokio::select! {
        () = env.shutdown.cancelled() => return Ok(()),
        ensured = topics::ensure(&plan.connection, &env.secrets, &plan.spec.topic, largest) => ensured,
    };
    let limit = ensured?.max_message_bytes;
    let (plan, spec, kept) = (plan.clone(), spec.clone(), kept.clone());
    let root = storage_root.map(Path::to_owned);
    let (name, runtime) = (format!("videos-{}", plan.name.name), Handle::current());
    on_a_thread(name, move || {
        let state = env.state.clone();
        let done = Places::of(&plan, &spec, root.as_deref())
            .and_then(|places| Work::new(&plan, &spec, places, env, limit, kept, &runtime)?.run());
        // Nobody else says that of the files.
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

    fn plan(file: &str, storage: &str) -> CameraPlan {
        let text = format!(
            "apiVersion: edgereel.dev/v1alpha1\nkind: KafkaConnection\nmetadata: {{name: lab}}\n\
             spec: {{bootstrapServers: [\"127.0.0.1:9092\"]}}\n---\n\
             apiVersion: edgereel.dev/v1alpha1\nkind: CameraStream\nmetadata: {{name: night}}\nspec:\n  \
             source: {{file: {{{file}}}}}\n  storage: {storage}\n  topic: {{name: t}}\n  \
             kafka: {{connectionRef: {{name: lab}}}}\n"
        );
        edgereel_crds::load(&[("f.yaml".into(), text)]).expect("sound").cameras.remove(0)
    }

    #[test]
    fn a_path_is_a_file_a_folder_or_a_pattern_and_has_to_be_there() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("night")).expect("made");
        std::fs::write(dir.path().join("night/a.mp4"), "x").expect("written");
        let host = format!("{{hostPath: {{path: {}}}}}", dir.path().display());
        let of = |file: &str| {
            let plan = plan(file, &host);
            Places::of(&plan, source(&plan).expect("files"), None)
        };
        let night = dir.path().join("night");
        let place = |sought, ledger: &Path| Places { folder: night.clone(), sought, ledger: ledger.to_owned() };
        assert_eq!(of("path: night/"), Ok(place(Sought::Usual, &night)));
        assert_eq!(of("path: ./night/a.mp4"), Ok(place(Sought::One("a.mp4".into()), &night)));
        let pattern = edgereel_crds::file::Pattern::new("*.mp4").expect("sound");
        assert_eq!(
            of("path: 'night/*.mp4', ledger: /state"),
            Ok(place(Sought::Matching(pattern), Path::new("/state")))
        );
        let missing = of("path: night/b.mp4").expect_err("missing");
        assert_eq!(missing.reason, Reason::StorageMissing);
        assert!(missing.message.contains("night/b.mp4: there is no such file or folder"), "{missing}");
    }
}
