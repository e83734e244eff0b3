//! RTSP: MJPEG is passed through; H.264, H.265 and what else FFmpeg decodes is encoded as JPEG.

use std::time::Duration;

use edgereel_crds::{
    camera_stream::{CameraStreamSpec, RtspSource, RtspTransport},
    redact,
    status::Reason,
};
use edgereel_runtime::secrets::{SecretError, Secrets};
use futures::future::BoxFuture;
use url::Url;

use super::{
    FrameStream, Source, SourceError, largest_picture,
    login::Login,
    media::{self, Address, Wanted},
};

/// How much of a stream is looked at to find out what it is; a server that describes it well needs none of it.
const PROBED: Duration = Duration::from_secs(5);

/// An RTSP camera.
pub struct Rtsp {
    /// Without user name and password.
    url: Url,
    login: Login,
    options: Vec<(&'static str, String)>,
    wanted: Wanted,
}

impl Rtsp {
    /// A camera by its spec. Fails when the URL or a secret cannot be used.
    pub fn new(
        spec: &RtspSource,
        camera: &CameraStreamSpec,
        namespace: &str,
        secrets: &Secrets,
    ) -> Result<Self, SourceError> {
        let invalid = |message: String| SourceError::new(Reason::InvalidConfiguration, message);
        let missing = |e: SecretError| SourceError::new(Reason::SecretMissing, e.to_string());
        // The message must not show the URL: a password with an unescaped `/` is what breaks it most often.
        let mut url = Url::parse(&spec.url).map_err(|e| {
            invalid(format!("`url` is not a URL: {e}; write special characters of a password as %XX, or use a Secret"))
        })?;
        if url.scheme() != "rtsp" || url.host_str().is_none_or(str::is_empty) {
            return Err(invalid("`url` must be `rtsp://HOST/…`".into()));
        }
        let login = Login::take(&mut url, spec.credentials_secret_ref.as_ref(), namespace, secrets).map_err(missing)?;
        let micros = |duration: Duration| duration.as_micros().min(i32::MAX as u128).to_string();
        let transport = match spec.transport {
            RtspTransport::Tcp => "tcp",
            RtspTransport::Udp => "udp",
        };
        let options = vec![
            ("rtsp_transport", transport.to_owned()),
            ("allowed_media_types", "video".to_owned()),
            ("timeout", micros(*camera.watchdog.stall)),
            ("analyzeduration", micros(PROBED.min(*camera.watchdog.stall / 2))),
            ("user_agent", concat!("edgereel/", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        let wanted = Wanted {
            largest: largest_picture(&camera.encoding).as_usize(),
            frame_rate: camera.frame_rate.clone(),
            quality: camera.encoding.quality,
            key_frames_only: spec.key_frames_only,
        };
        Ok(Rtsp { url, login, options, wanted })
    }
}

impl Source for Rtsp {
    fn connect(&mut self) -> BoxFuture<'_, Result<Box<dyn FrameStream>, SourceError>> {
        Box::pin(async {
            let credentials = self.login.credentials();
            let credentials = credentials
                .map_err(|e| SourceError::new(Reason::SecretMissing, format!("{}: {e}", redact::url(&self.url))))?;
            let address = Address { url: self.url.clone(), credentials, options: self.options.clone() };
            media::open(address, self.wanted.clone()).await
        })
    }

    fn login(&self) -> Option<String> {
        Some(if matches!(self.login, Login::None) { "no login" } else { "logged in if asked" }.into())
    }
}
