//! MJPEG over HTTP(S): the body's pictures, passed on as they are.

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use edgereel_crds::{camera_stream::MjpegSource, units::ByteSize};
use edgereel_runtime::secrets::Secrets;
use futures::future::BoxFuture;
use reqwest::Response;

use super::{
    Again, FrameStream, Part, Source, SourceError,
    http::{HttpCamera, Page, content_type, is_bare},
    multipart::MultipartParser,
};

/// For how long an answer that calls itself text may be silent before its first part: then it is what it says.
const PAGE_SILENCE: Duration = Duration::from_secs(1);

/// An MJPEG camera.
pub struct Mjpeg {
    camera: HttpCamera,
    max_frame_bytes: usize,
}

impl Mjpeg {
    /// A camera by its spec. Fails when the URL, a secret or a certificate cannot be used.
    pub fn new(
        spec: &MjpegSource,
        max_frame_bytes: ByteSize,
        namespace: &str,
        secrets: &Secrets,
    ) -> Result<Self, SourceError> {
        let credentials = spec.credentials_secret_ref.as_ref();
        let camera = HttpCamera::new(&spec.url, credentials, spec.tls.as_ref(), namespace, secrets)?;
        Ok(Mjpeg { camera, max_frame_bytes: max_frame_bytes.as_usize() })
    }
}

impl Source for Mjpeg {
    fn connect(&mut self) -> BoxFuture<'_, Result<Box<dyn FrameStream>, SourceError>> {
        Box::pin(async move {
            self.camera.forget_login();
            let response = self.camera.get().await?;
            let content_type = if is_bare(&response) { String::new() } else { content_type(&response) };
            let parser = MultipartParser::new(&content_type, self.max_frame_bytes);
            let single = content_type.starts_with("image/jpeg");
            let page = Some(Page::of(&response));
            let camera = self.camera.clone();
            let (parts, ended, in_order, broke) = (0, false, false, None);
            let stream = Stream { camera, response, parser, page, single, parts, ended, in_order, broke };
            Ok(Box::new(stream) as Box<dyn FrameStream>)
        })
    }

    fn login(&self) -> Option<String> {
        Some(self.camera.login())
    }
}

struct Stream {
    camera: HttpCamera,
    response: Response,
    parser: MultipartParser,
    /// What the answer is if it is no stream; until its first part comes.
    page: Option<Page>,
    /// Declared as one picture. Some cameras send a stream of them all the same.
    single: bool,
    parts: u64,
    /// The answer has ended …
    ended: bool,
    /// … behind a whole part, or by a fault.
    in_order: bool,
    broke: Option<SourceError>,
}

impl Stream {
    async fn next_part(&mut self) -> Result<Part, SourceError> {
        loop {
            match self.parser.next() {
                Some(Ok(part)) => {
                    self.parts += 1;
                    self.page = None;
                    return Ok(part);
                }
                Some(Err(error)) => {
                    return Err(match self.page.take().filter(Page::is_text) {
                        Some(page) => self.camera.no_pictures(&page),
                        None => self.camera.protocol_error(format!("does not send an MJPEG stream: {error}")),
                    });
                }
                None if self.ended => return Err(self.end()),
                None => {}
            }
            match self.chunk().await? {
                Ok(Some(bytes)) => {
                    if let Some(page) = &mut self.page {
                        page.take(&bytes);
                    }
                    self.parser.push(bytes);
                    continue;
                }
                Ok(None) => self.in_order = self.parser.is_between_parts(),
                Err(error) => self.broke = Some(self.camera.broke_off(&error)),
            }
            // What came before may end a picture.
            self.ended = true;
            self.parser.finish();
        }
    }

    /// More of the answer; `None` at its end. One that calls itself text, begins like it and then falls silent is a page.
    async fn chunk(&mut self) -> Result<reqwest::Result<Option<Bytes>>, SourceError> {
        let chunk = self.response.chunk();
        let Some(page) = &self.page else { return Ok(chunk.await) };
        if !page.is_text() || !page.has_begun() || !self.parser.knows_nothing() {
            return Ok(chunk.await);
        }
        tokio::time::timeout(PAGE_SILENCE, chunk).await.map_err(|_| self.camera.no_pictures(page))
    }

    /// Why there is nothing more.
    fn end(&mut self) -> SourceError {
        if let Some(fault) = self.broke.take() {
            return fault;
        }
        let page = self.page.take();
        if self.single && self.parts <= 1 {
            let advice = "use the source `snapshot` for it";
            return self.camera.protocol_error(format!("answers with a single JPEG, not with a stream: {advice}"));
        }
        match page {
            Some(page) if page.is_text() => self.camera.no_pictures(&page),
            Some(page) if self.response.content_length() == Some(0) && !page.has_begun() => {
                self.camera.protocol_error("says that its answer is empty (Content-Length: 0)")
            }
            _ => {
                let again = if self.in_order { Again::AtOnce } else { Again::Later };
                self.camera.unreachable("the camera closed the stream").again(again)
            }
        }
    }
}

impl FrameStream for Stream {
    fn next(&mut self) -> BoxFuture<'_, Result<Part, SourceError>> {
        Box::pin(self.next_part())
    }
}
