//! MJPEG over HTTP(S): the body's pictures, passed on as they are.

#[cfg(test)]
mod tests;

use edgereel_crds::{camera_stream::MjpegSource, units::ByteSize};
use futures::future::BoxFuture;
use reqwest::Response;

use super::{
    Again, FrameStream, Part, Source, SourceError,
    http::{HttpCamera, content_type, is_bare},
    multipart::MultipartParser,
};
use crate::secrets::Secrets;

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
            Ok(Box::new(Stream { camera: self.camera.clone(), response, parser, single, parts: 0 })
                as Box<dyn FrameStream>)
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
    /// Declared as one picture. Some cameras send a stream of them all the same.
    single: bool,
    parts: u64,
}

impl Stream {
    async fn next_part(&mut self) -> Result<Part, SourceError> {
        loop {
            match self.parser.next() {
                Some(Ok(part)) => {
                    self.parts += 1;
                    return Ok(part);
                }
                Some(Err(error)) => {
                    return Err(self.camera.protocol_error(format!("does not send an MJPEG stream: {error}")));
                }
                None => {}
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.parser.push(bytes),
                Ok(None) if self.single && self.parts <= 1 => {
                    return Err(self.camera.protocol_error(
                        "answers with a single JPEG, not with a stream: use the source `snapshot` for it",
                    ));
                }
                Ok(None) => {
                    let again = if self.parser.is_between_parts() { Again::AtOnce } else { Again::Later };
                    return Err(self.camera.unreachable("the camera closed the stream").again(again));
                }
                Err(error) => return Err(self.camera.broke_off(&error)),
            }
        }
    }
}

impl FrameStream for Stream {
    fn next(&mut self) -> BoxFuture<'_, Result<Part, SourceError>> {
        Box::pin(self.next_part())
    }
}
