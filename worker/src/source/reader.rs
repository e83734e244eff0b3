//! Cameras whose reading blocks have a thread of their own: whoever waits for its pictures never waits for a system call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use edgereel_crds::status::Reason;
use edgereel_runtime::plain::plain;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::{FrameStream, Part, SourceError};

/// Pictures that were read and not taken yet. With more, a picture would be old before it is looked at.
const AHEAD: usize = 2;

/// What is read on a thread.
pub trait Reading {
    /// Waits for what comes next, and gives it to `give` until that says no; then says no too. No wait outlasts the wish for
    /// it by more than a moment.
    fn read(&mut self, give: &mut dyn FnMut(Part) -> bool) -> Result<bool, SourceError>;
}

/// Opens something on a thread of its own, and gives what is read of it. `begin` and what it makes are told by the flag when nobody
/// waits any more: whoever drops the future or the stream sets it.
pub async fn open<R: Reading>(
    begin: impl FnOnce(Arc<AtomicBool>) -> Result<R, SourceError> + Send + 'static,
) -> Result<Box<dyn FrameStream>, SourceError> {
    let (given_up, (opened, is_open)) = (GivenUp::default(), oneshot::channel());
    let (parts, taken) = mpsc::channel(AHEAD);
    let told = given_up.0.clone();
    let read = move || read(|| begin(told), opened, &parts);
    let thread = thread::Builder::new().name("camera".into()).spawn(read);
    thread.map_err(|e| SourceError::new(Reason::InternalError, format!("no thread for the camera: {}", plain(e))))?;
    is_open.await.unwrap_or_else(|_| Err(ended()))?;
    Ok(Box::new(Stream { parts: taken, _given_up: given_up }))
}

/// Nobody waits any more: set when it is dropped.
#[derive(Default)]
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Stream {
    parts: mpsc::Receiver<Result<Part, SourceError>>,
    _given_up: GivenUp,
}

impl FrameStream for Stream {
    fn next(&mut self) -> BoxFuture<'_, Result<Part, SourceError>> {
        Box::pin(async { self.parts.recv().await.unwrap_or_else(|| Err(ended())) })
    }
}

fn ended() -> SourceError {
    SourceError::new(Reason::InternalError, "the thread that reads the camera ended: it is dialled again")
}

/// The thread's work.
fn read<R: Reading>(
    begin: impl FnOnce() -> Result<R, SourceError>,
    opened: oneshot::Sender<Result<(), SourceError>>,
    parts: &mpsc::Sender<Result<Part, SourceError>>,
) {
    let mut reading = match begin() {
        Ok(reading) => reading,
        // Whoever gave up does not hear it.
        Err(error) => return drop(opened.send(Err(error))),
    };
    if opened.send(Ok(())).is_err() {
        return;
    }
    loop {
        match reading.read(&mut |part| parts.blocking_send(Ok(part)).is_ok()) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return drop(parts.blocking_send(Err(error))),
        }
    }
}
