//! What FFmpeg reads: a stream of packets, read on a thread of its own, since FFmpeg's calls block.
//!
//! - [`input`] opens and reads, and gives up when it is told to;
//! - [`pictures`] makes pictures of packets: JPEG as it came, everything else decoded and encoded.

pub mod input;
pub mod pictures;

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
pub use input::Address;
pub use pictures::Wanted;
use pictures::{Live, Pictures};
use tokio::sync::{mpsc, oneshot};

use super::{FrameStream, Part, SourceError};
use crate::ffmpeg;

/// Pictures that were read and not taken yet. With more, a picture would be old before it is looked at.
const AHEAD: usize = 2;

/// Opens an address, and gives its pictures. Whoever drops the future or the stream lets the thread end: it notices within
/// a tenth of a second, except while a host name is looked up.
pub async fn open(address: Address, wanted: Wanted) -> Result<Box<dyn FrameStream>, SourceError> {
    ffmpeg::init();
    let (given_up, (opened, is_open)) = (GivenUp::default(), oneshot::channel());
    let (parts, taken) = mpsc::channel(AHEAD);
    let told = given_up.0.clone();
    let read = move || read(&address, &wanted, told, opened, &parts);
    let thread = thread::Builder::new().name("media".into()).spawn(read);
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
fn read(
    address: &Address,
    wanted: &Wanted,
    given_up: Arc<AtomicBool>,
    opened: oneshot::Sender<Result<(), SourceError>>,
    parts: &mpsc::Sender<Result<Part, SourceError>>,
) {
    let begun = address.secret().and_then(|url| {
        let input = input::Input::open(url.as_str(), &address.options, given_up).map_err(|e| address.refused(e))?;
        let choice = Box::new(Live::new(&wanted.frame_rate));
        let pictures = Pictures::of(input.stream(), wanted, choice).map_err(|words| address.protocol_error(words))?;
        Ok((input, pictures))
    });
    let (mut input, mut pictures) = match begun {
        Ok(begun) => begun,
        // Whoever gave up does not hear it.
        Err(error) => return drop(opened.send(Err(error))),
    };
    if opened.send(Ok(())).is_err() {
        return;
    }
    loop {
        let result = input.read(|packet| pictures.take(packet, &mut |part| parts.blocking_send(Ok(part)).is_ok()));
        match result {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return drop(parts.blocking_send(Err(address.broke_off(error)))),
        }
    }
}
