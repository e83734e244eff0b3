//! Files that are repeated without end, at their own pace: a camera that is always there.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use edgereel_crds::{file::FileSource, plan::CameraPlan, status::Reason};
use edgereel_runtime::plain::plain;
use futures::future::BoxFuture;
use tokio::{sync::mpsc, time::Instant};

use super::{
    Places,
    listing::list,
    reader::{Nothing, Reader, Said},
    settings,
};
use crate::{
    folder::files::NotNow,
    source::{FrameStream, Part, Source, SourceError},
};

/// Frames that were read and not taken yet.
const AHEAD: usize = 2;

/// The files of a camera.
pub struct Live {
    plan: CameraPlan,
    spec: FileSource,
    storage_root: Option<PathBuf>,
}

impl Live {
    /// Of this plan.
    pub fn new(plan: &CameraPlan, spec: &FileSource, storage_root: Option<&Path>) -> Self {
        Live { plan: plan.clone(), spec: spec.clone(), storage_root: storage_root.map(Path::to_owned) }
    }
}

impl Source for Live {
    fn connect(&mut self) -> BoxFuture<'_, Result<Box<dyn FrameStream>, SourceError>> {
        let (plan, spec, root) = (self.plan.clone(), self.spec.clone(), self.storage_root.clone());
        let given_up = GivenUp::default();
        let (parts, taken) = mpsc::channel(AHEAD);
        let told = given_up.0.clone();
        Box::pin(async move {
            let read = move || read(&plan, &spec, root.as_deref(), told, &parts);
            let thread = thread::Builder::new().name("videos".into()).spawn(read);
            thread.map_err(|e| error(Reason::InternalError, format!("no thread to read with: {}", plain(e))))?;
            Ok(Box::new(Stream { frames: taken, clock: None, _given_up: given_up }) as Box<dyn FrameStream>)
        })
    }
}

/// Nobody wants more: set when it is dropped.
#[derive(Default)]
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A part, and its time in its file, in seconds; or that another file begins.
type Timed = Result<Option<(f64, Part)>, SourceError>;

struct Stream {
    frames: mpsc::Receiver<Timed>,
    /// When the file that is shown began: what stands for its time 0.
    clock: Option<Instant>,
    _given_up: GivenUp,
}

impl FrameStream for Stream {
    fn next(&mut self) -> BoxFuture<'_, Result<Part, SourceError>> {
        Box::pin(async {
            loop {
                let ended = || error(Reason::InternalError, "the thread that reads the files ended".into());
                let Some((time, part)) = self.frames.recv().await.unwrap_or_else(|| Err(ended()))? else {
                    self.clock = None;
                    continue;
                };
                let time = Duration::try_from_secs_f64(time).unwrap_or_default();
                let now = Instant::now();
                let begin = *self.clock.get_or_insert_with(|| now.checked_sub(time).unwrap_or(now));
                tokio::time::sleep_until(begin + time).await;
                return Ok(part);
            }
        })
    }
}

fn error(reason: Reason, message: String) -> SourceError {
    SourceError::new(reason, message)
}

/// The thread's work: all files, again and again, until one is missing, none can be read, or nobody wants more.
fn read(
    plan: &CameraPlan,
    spec: &FileSource,
    storage_root: Option<&Path>,
    given_up: Arc<AtomicBool>,
    parts: &mpsc::Sender<Timed>,
) {
    let round = || -> Result<bool, SourceError> {
        let fault = |fault: edgereel_runtime::fault::Fault| error(fault.reason, fault.message);
        let places = Places::of(plan, spec, storage_root).map_err(fault)?;
        let folder = places.open().map_err(fault)?;
        let units = list(&folder, &places.sought).map_err(fault)?.units;
        let reader =
            Reader { folder, settings: settings(spec, &plan.spec), known: Nothing, given_up: given_up.clone() };
        let (mut frames, mut why) = (0_u64, None);
        for unit in &units {
            let went = reader.read(unit, &mut |said| match said {
                // The pictures of a sequence go on from each other.
                Said::Begun(_) => true,
                Said::Frame(_, place, part) => {
                    frames += u64::from(matches!(part, Part::Picture(_)));
                    parts.blocking_send(Ok(Some((place.time, part)))).is_ok()
                }
                Said::Passed(path, NotNow::Bad(_, words)) | Said::Failed(path, words) => {
                    why = Some(format!("{}: {words}", path.display()));
                    true
                }
                Said::Ended(..) | Said::Known(_) | Said::Touched(..) | Said::Passed(..) => true,
            });
            if !went || parts.blocking_send(Ok(None)).is_err() {
                return Ok(false);
            }
        }
        match (frames, why) {
            (0, why) => {
                let why = why.unwrap_or_else(|| "there are no videos and no pictures".into());
                Err(error(Reason::StorageError, format!("{}: {why}", places.folder.display())))
            }
            _ => Ok(true),
        }
    };
    loop {
        match round() {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return drop(parts.blocking_send(Err(error))),
        }
    }
}
