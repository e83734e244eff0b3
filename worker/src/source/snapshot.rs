//! A URL that answers with one JPEG, asked again and again over one connection.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use edgereel_crds::{camera_stream::SnapshotSource, status::Reason, units::ByteSize};
use edgereel_frame::{
    jpeg::{BEGINNING, first_of},
    reasons::DropReason,
};
use edgereel_runtime::secrets::Secrets;
use futures::future::BoxFuture;
use memchr::memmem;
use reqwest::Response;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{
    Again, FrameStream, Part, Source, SourceError,
    http::{HttpCamera, Page, content_type},
};

/// So much may stand before the picture.
const LEAD: usize = 4 << 10;
/// More pictures than this in an answer without a length are a stream, whatever it calls itself.
const MANY: usize = 8;
/// A larger answer is not read to its end to keep the connection.
const LARGEST_TO_PASS: usize = 16 << 20;

const STREAM: &str = "answers with a stream, not with one JPEG: use the source `mjpeg` for it";

/// A camera that is asked for each picture.
pub struct Snapshot {
    camera: HttpCamera,
    max_frame_bytes: usize,
    interval: std::time::Duration,
}

impl Snapshot {
    /// A camera by its spec. Fails when the URL, a secret or a certificate cannot be used.
    pub fn new(
        spec: &SnapshotSource,
        max_frame_bytes: ByteSize,
        namespace: &str,
        secrets: &Secrets,
    ) -> Result<Self, SourceError> {
        let credentials = spec.credentials_secret_ref.as_ref();
        let camera = HttpCamera::new(&spec.url, credentials, spec.tls.as_ref(), namespace, secrets)?;
        // The check asks for 10 ms at least; a timer of zero would panic.
        let interval = spec.interval.0.max(std::time::Duration::from_millis(1));
        Ok(Snapshot { camera, max_frame_bytes: max_frame_bytes.as_usize(), interval })
    }
}

impl Source for Snapshot {
    /// Asks for the first picture too, so that a refused login shows at once.
    fn connect(&mut self) -> BoxFuture<'_, Result<Box<dyn FrameStream>, SourceError>> {
        Box::pin(async move {
            let mut ticks = interval(self.interval);
            // Pictures keep to a fixed schedule: a late answer shifts none, and what was missed is left out.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            ticks.tick().await;
            self.camera.forget_login();
            let first = answer(&mut self.camera, self.max_frame_bytes).await?;
            let camera = self.camera.clone();
            let stream = Stream { camera, max_frame_bytes: self.max_frame_bytes, ticks, first: Some(first) };
            Ok(Box::new(stream) as Box<dyn FrameStream>)
        })
    }

    fn login(&self) -> Option<String> {
        Some(self.camera.login())
    }
}

struct Stream {
    camera: HttpCamera,
    max_frame_bytes: usize,
    ticks: Interval,
    first: Option<Part>,
}

impl FrameStream for Stream {
    fn next(&mut self) -> BoxFuture<'_, Result<Part, SourceError>> {
        Box::pin(async move {
            if let Some(part) = self.first.take() {
                return Ok(part);
            }
            self.ticks.tick().await;
            answer(&mut self.camera, self.max_frame_bytes).await
        })
    }
}

/// What one request came to. A bad answer says nothing of the next, whatever is wrong with it; but what this end has to
/// mend, and a login that was refused, cannot get better by asking on.
async fn answer(camera: &mut HttpCamera, limit: usize) -> Result<Part, SourceError> {
    match fetch(camera, limit).await {
        Ok(Part::Skipped(DropReason::empty)) => {
            Ok(Part::Bad(DropReason::empty, camera.protocol_error("answers with nothing instead of a picture")))
        }
        Err(fault) if fault.again == Again::MuchLater => Err(fault),
        Err(fault) => match fault.reason {
            Reason::CameraUnreachable => Ok(Part::Bad(DropReason::no_answer, fault)),
            Reason::CameraProtocolError | Reason::CameraUnauthorized => Ok(Part::Bad(DropReason::not_jpeg, fault)),
            _ => Err(fault),
        },
        part => part,
    }
}

/// One picture, from where it begins. One that is larger than `limit` is read, not kept.
async fn fetch(camera: &mut HttpCamera, limit: usize) -> Result<Part, SourceError> {
    let mut response = camera.get().await?;
    if content_type(&response).to_ascii_lowercase().starts_with("multipart/") {
        return Err(camera.protocol_error(STREAM));
    }
    let (mut page, declared) = (Page::of(&response), declared_length(&response));
    let mut body = Vec::with_capacity(declared.min(limit));
    let (mut read, mut begun, mut broke) = (0, 0, None);
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                read += chunk.len();
                begun += memmem::find_iter(&chunk, &BEGINNING).count();
                page.take(&chunk);
                let room = (limit + LEAD).saturating_sub(body.len());
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            Ok(None) => break,
            // The length may have been wrong: what came decides.
            Err(error) => {
                broke = Some(camera.broke_off(&error));
                break;
            }
        }
        let worth_reading = read <= declared && declared <= LARGEST_TO_PASS;
        if (read > limit + LEAD && !worth_reading) || (declared == 0 && begun > MANY) {
            break;
        }
    }
    let body = Bytes::from(body);
    let is_stream =
        |at| declared == 0 && (begun > MANY || read - at > limit) && first_of(&body[at..]) < body.len() - at;
    match (memmem::find(&body, &BEGINNING), broke) {
        (Some(at), _) if is_stream(at) => Err(camera.protocol_error(STREAM)),
        (Some(at), _) if read - at <= limit => Ok(Part::Picture(body.slice(at..))),
        (Some(at), _) => Ok(Part::TooLarge(read.max(declared) - at)),
        (None, Some(broke)) => Err(broke),
        (None, None) if read == 0 => Ok(Part::Skipped(DropReason::empty)),
        (None, None) => Err(camera.no_pictures(&page)),
    }
}

fn declared_length(response: &Response) -> usize {
    response.content_length().and_then(|n| usize::try_from(n).ok()).unwrap_or_default()
}
