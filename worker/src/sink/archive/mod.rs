//! What is closed goes to an object store: `spec.archive`.
//!
//! - [`units`] says what belongs to a closed file, [`uploader`] brings it there, the oldest first, on a thread of its own;
//! - [`ledger`] is what the store has acknowledged, [`archived`] what of that is known in this process; [`telling`] says how it goes.
//!
//! **What makes it exact.** An object's name is a function of the file's path below the output's directory, and it is written only where
//! nothing has that name. So what is uploaded once more after a crash meets itself: it is compared, and noted. Only what is closed
//! in a state that is committed is uploaded, which no restart changes any more. And nothing is deleted from the disk that the store has not
//! acknowledged, by number, name and size.

pub mod archived;
pub mod ledger;
mod telling;
mod units;
mod uploader;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use edgereel_crds::{archive::Archive as Wanted, frame_sink::Output, plan::SinkPlan, status::Reason};
use edgereel_runtime::{fault::Fault, secrets::Secrets, state::ResourceState};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{
    archived::Archived,
    telling::{Behind, Telling},
    units::Kind,
    uploader::Uploader,
};
use super::{dataset, metrics::SinkMetrics, video::segment_log};

/// What uploads for a sink. Dropped, it stops at once; what was under way begins anew with the next.
pub struct Archive {
    closed: watch::Sender<Option<u64>>,
    behind: Arc<Mutex<Behind>>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// What a sink's archive needs of the process.
pub struct Around<'a> {
    /// Below it the files' names begin.
    pub directory: PathBuf,
    /// The sink's own folder.
    pub folder: &'a Path,
    /// Logins.
    pub secrets: &'a Secrets,
    /// What is counted.
    pub metrics: &'a SinkMetrics,
    /// What is said.
    pub state: &'a ResourceState,
}

impl Archive {
    /// Begins to upload what is closed, as soon as [`Archive::closed`] says what that is.
    ///
    /// # Errors
    /// [`Reason::InternalError`] where there is no thread for it. Whatever else is in its way it says itself: frames are written all the same.
    pub fn start(
        plan: &SinkPlan,
        wanted: &Wanted,
        archived: Arc<Archived>,
        around: &Around<'_>,
    ) -> Result<Self, Fault> {
        let Wanted::S3(s3) = wanted;
        let (closed, told) = watch::channel(None);
        let (behind, stop) = (Arc::new(Mutex::new(Behind::default())), CancellationToken::new());
        let (kind, list) = match plan.spec.output {
            Output::Dataset(_) => (Kind::Dataset, dataset::LOG),
            Output::Video(_) | Output::JpegFiles(_) => (Kind::Video, segment_log::LOG),
        };
        let telling = Telling {
            sink: plan.name.clone(),
            metrics: around.metrics.clone(),
            state: around.state.clone(),
            behind: behind.clone(),
        };
        let uploader = Uploader {
            s3: s3.clone(),
            secrets: around.secrets.clone(),
            kind,
            directory: around.directory.clone(),
            folder: around.folder.to_owned(),
            list: around.folder.join(list),
            archived,
            telling,
        };
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("archive".into())
            .spawn(move || uploader.work(told, &stopped))
            .map_err(|e| Fault::new(Reason::InternalError, format!("cannot start a thread: {e}")))?;
        Ok(Archive { closed, behind, stop, thread: Some(thread) })
    }

    /// Files up to this number are closed, in a state that is committed.
    pub fn closed(&self, last: u64) {
        self.closed.send_if_modified(|known| known.replace(last) != Some(last));
    }

    /// For people: what waits for it, where anything does.
    pub fn waits(&self) -> Option<String> {
        let Behind { files, bytes, fault } = self.behind.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let why = fault.unwrap_or_else(|| "they are being uploaded".to_owned());
        let megabytes = bytes / 1_000_000;
        (files > 0).then(|| {
            format!("{files} closed files ({megabytes} MB) are not in the archive yet, and stay until they are: {why}")
        })
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // It waits for the network only where it can be stopped.
            let _ = thread.join();
        }
    }
}
