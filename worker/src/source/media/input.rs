//! Opens what FFmpeg can read, and reads its packets. No call outlasts the wish for it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use edgereel_crds::{redact, status::Reason};
use edgereel_runtime::plain::plain;
use ffmpeg_next::{
    Dictionary, Error, Packet, Stream,
    format::{self, context},
    media::Type,
    util::error::{EAGAIN, ECONNREFUSED, EHOSTUNREACH, EIO, ENETUNREACH, EPROTONOSUPPORT, ETIMEDOUT},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::source::{Again, SourceError, login::Credentials};

/// What is opened, and how.
#[derive(Clone)]
pub struct Address {
    /// Without user name and password.
    pub url: Url,
    /// The login that it is opened with.
    pub credentials: Option<Credentials>,
    /// FFmpeg's own options for it.
    pub options: Vec<(&'static str, String)>,
}

impl Address {
    /// The URL for FFmpeg's eyes alone.
    pub(super) fn secret(&self) -> Result<Url, SourceError> {
        let mut url = self.url.clone();
        let Some(Credentials { username, password }) = &self.credentials else { return Ok(url) };
        // What the URL's own methods leave as it is, `%` above all, FFmpeg would read as an escape.
        let escape = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let (username, password) = (escape(username), escape(password));
        let set = url.set_username(&username).and_then(|()| url.set_password(Some(&password)));
        set.map_err(|()| self.error(Reason::InvalidConfiguration, "a URL without a host cannot have a login"))?;
        Ok(url)
    }

    fn error(&self, reason: Reason, message: impl std::fmt::Display) -> SourceError {
        SourceError::new(reason, format!("{}: {message}", redact::url(&self.url)))
    }

    /// The camera answers, and not with what we want.
    pub fn protocol_error(&self, message: impl std::fmt::Display) -> SourceError {
        self.error(Reason::CameraProtocolError, message)
    }

    /// What FFmpeg's error means while it opens.
    pub(super) fn refused(&self, error: Error) -> SourceError {
        match error {
            Error::HttpUnauthorized if self.credentials.is_none() => {
                let message = "answered 401: it wants a login, set `credentialsSecretRef`";
                self.error(Reason::CameraUnauthorized, message)
            }
            Error::HttpUnauthorized => {
                let message = "answered 401: it refuses this user name and password";
                self.error(Reason::CameraUnauthorized, message).again(Again::MuchLater)
            }
            Error::HttpForbidden => self.error(Reason::CameraUnauthorized, "answered 403: this user may not see it"),
            Error::HttpNotFound => self.protocol_error("answered 404: check the path"),
            Error::HttpBadRequest => self.protocol_error("answered 400: check the path"),
            Error::HttpOther4xx => self.protocol_error("it refuses the request (4xx): check the path"),
            // What becomes of 461, if it is the answer for every transport that is offered.
            Error::Other { errno: EPROTONOSUPPORT } => {
                self.protocol_error("it does not send its video in this way: try the other `transport`")
            }
            Error::HttpServerError => {
                self.protocol_error("answered with an error of its own (5xx): restart the camera if this stays")
            }
            Error::InvalidData => self.protocol_error("what answers is not RTSP, or has no video: check port and path"),
            Error::StreamNotFound => self.protocol_error("it offers no video: check the path"),
            Error::DecoderNotFound => self.protocol_error("its video is of a kind that FFmpeg cannot decode"),
            Error::Other { errno: ECONNREFUSED | EHOSTUNREACH | ENETUNREACH } => {
                let message = format!("cannot connect ({}): check that it is on, and address and port", plain(error));
                self.error(Reason::CameraUnreachable, message)
            }
            Error::Other { errno: ETIMEDOUT } => {
                let message = "it does not answer: check that it is on and that the address is right";
                self.error(Reason::CameraUnreachable, message)
            }
            // Names that do not resolve are this too.
            Error::Other { errno: EIO } => {
                let message = "no connection: check the host's name, and that the camera is on";
                self.error(Reason::CameraUnreachable, message)
            }
            error => self.error(Reason::CameraUnreachable, format!("cannot be opened: {}", plain(error))),
        }
    }

    pub(super) fn broke_off(&self, error: Error) -> SourceError {
        match error {
            Error::Eof => self.error(Reason::CameraUnreachable, "the camera ended the stream"),
            Error::Other { errno: ETIMEDOUT } => self.error(Reason::CameraStalled, "nothing came for too long"),
            error => self.error(Reason::CameraUnreachable, format!("the connection broke off: {}", plain(error))),
        }
    }
}

/// An open input, and which of its streams is read.
pub struct Input {
    context: context::Input,
    stream: usize,
    packet: Packet,
}

impl Input {
    /// Opens a URL with FFmpeg's own options for it, and looks for its video. Every wait ends soon after `given_up` is set.
    ///
    /// # Errors
    /// FFmpeg's own.
    pub fn open(url: &str, options: &[(&'static str, String)], given_up: Arc<AtomicBool>) -> Result<Self, Error> {
        let options: Dictionary<'_> = options.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let give_up = move || given_up.load(Ordering::Relaxed);
        let context = format::input_with_interrupt_and_dictionary(url, give_up, options)?;
        let stream = context.streams().best(Type::Video).map(|stream| stream.index());
        Ok(Input { stream: stream.ok_or(Error::StreamNotFound)?, context, packet: Packet::empty() })
    }

    /// What there is to know of it as a whole.
    pub fn context(&self) -> &context::Input {
        &self.context
    }

    /// The stream that is read.
    pub fn stream(&self) -> Option<Stream<'_>> {
        self.context.stream(self.stream)
    }

    /// Reads the next packet and gives it to `take` if it is of that stream; what `take` says goes back.
    ///
    /// # Errors
    /// FFmpeg's own; [`Error::Eof`] at the end.
    pub fn read(&mut self, take: impl FnOnce(&Packet) -> bool) -> Result<bool, Error> {
        match self.packet.read(&mut self.context) {
            Ok(()) if self.packet.stream() == self.stream => Ok(take(&self.packet)),
            Ok(()) | Err(Error::Other { errno: EAGAIN }) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str, credentials: Option<Credentials>) -> Address {
        Address { url: Url::parse(url).expect("a URL"), credentials, options: vec![] }
    }

    #[test]
    fn a_login_is_escaped_for_ffmpeg_and_shown_to_nobody() {
        let login = Credentials { username: "a@b".into(), password: "p:/?#[]@ä%41".into() };
        let address = address("rtsp://camera:554/live?channel=1", Some(login));
        let secret = address.secret().expect("a URL");
        assert_eq!(secret.as_str(), "rtsp://a%40b:p%3A%2F%3F%23%5B%5D%40%C3%A4%2541@camera:554/live?channel=1");
        for error in [Error::HttpUnauthorized, Error::InvalidData, Error::Eof, Error::Other { errno: EIO }] {
            for shown in [address.refused(error), address.broke_off(error)] {
                assert!(shown.message.starts_with("rtsp://camera:554/live?channel=1: "), "{shown}");
            }
        }
    }

    #[test]
    fn a_refused_login_is_tried_again_late_and_one_that_is_missing_as_usual() {
        let login = Credentials { username: "ann".into(), password: "x".into() };
        let (with, without) = (address("rtsp://camera/", Some(login)), address("rtsp://camera/", None));
        assert_eq!(with.refused(Error::HttpUnauthorized).again, Again::MuchLater);
        assert_eq!(without.refused(Error::HttpUnauthorized).again, Again::Later);
        assert!(without.refused(Error::HttpUnauthorized).message.contains("credentialsSecretRef"));
    }

    #[test]
    fn whoever_gave_up_does_not_wait_for_a_server_that_says_nothing() {
        crate::ffmpeg::init();
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("rtsp://{}/", silent.local_addr().expect("an address"));
        let given_up = Arc::new(AtomicBool::new(false));
        let told = given_up.clone();
        let opening = std::thread::spawn(move || Input::open(&url, &[], told).map(drop));
        let accepted = silent.accept().expect("a connection");
        given_up.store(true, Ordering::Relaxed);
        // The connection is still open: only the wish has ended.
        assert!(opening.join().expect("no panic").is_err());
        drop(accepted);
    }
}
