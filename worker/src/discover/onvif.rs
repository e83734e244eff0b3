//! What an ONVIF camera says on being asked: what it is, and its profiles with the addresses of their streams and pictures.

use std::time::Duration;

use edgereel_crds::{camera_stream::CameraTls, status::Reason};
use edgereel_runtime::secrets::Secrets;
use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use roxmltree::{Document, Node};
use serde::{Serialize, Serializer};
use tokio::time::timeout;
use url::{Host, Url};

use super::{
    Credentials,
    probe::{self, Scopes},
    soap::{self, each, envelope, escaped, text_at, username_token},
};
use crate::source::http::HttpCamera;

/// One question.
const TIMEOUT: Duration = Duration::from_secs(5);
/// No answer that is wanted here is longer.
const LONGEST: usize = 1 << 20;
/// A camera has a few; a recorder some for each of its cameras.
const PROFILES: usize = 64;

const DEVICE: &str = "http://www.onvif.org/ver10/device/wsdl";
const MEDIA: &str = "http://www.onvif.org/ver10/media/wsdl";
/// The media service of profile T, which newer cameras have alone.
const MEDIA2: &str = "http://www.onvif.org/ver20/media/wsdl";
const SCHEMA: &str = "http://www.onvif.org/ver10/schema";

/// What a camera is and offers; empty where it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Who made it.
    pub manufacturer: String,
    /// Its type.
    pub model: String,
    /// Its software's version.
    pub firmware: String,
    /// Its serial number.
    pub serial: String,
    /// Its streams, the main one first.
    pub profiles: Vec<Profile>,
}

/// A stream that a camera offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// The camera's name for it.
    pub name: String,
    /// By which the camera knows it.
    pub token: String,
    /// `H264`, `H265`, `JPEG`; empty where it is not told.
    pub encoding: String,
    /// Pixels; 0 where it is not told.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames a second at most; 0 where it is not told.
    pub frame_rate: u32,
    /// Where its video is, over RTSP; without a login.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text_or_none")]
    pub stream: Option<Url>,
    /// Where its pictures are, one at a time; without a login.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text_or_none")]
    pub snapshot: Option<Url>,
}

fn text_or_none<S: Serializer>(url: &Option<Url>, serializer: S) -> Result<S::Ok, S::Error> {
    url.as_ref().map(Url::as_str).serialize(serializer)
}

/// Why a camera did not answer a question, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refusal {
    /// The login is missing or wrong: no other question is asked, since a few wrong ones lock an account.
    Unauthorized(String),
    /// Anything else.
    Failed(String),
}

impl Refusal {
    fn words(self) -> String {
        match self {
            Refusal::Unauthorized(words) | Refusal::Failed(words) => words,
        }
    }
}

/// Asks a camera for all that it offers, and for its scopes where no probe brought them. What it said comes with why it did
/// not say the rest.
pub async fn look(
    service: &Url,
    login: Option<Credentials>,
    insecure: bool,
    scopes: &mut Scopes,
) -> (Details, Option<String>) {
    let mut camera = Camera { login, insecure, ahead: SignedDuration::ZERO };
    let mut details = Details::default();
    let problem = camera.tell(service, &mut details, scopes).await.err().map(Refusal::words);
    (details, problem)
}

/// A camera that is asked.
struct Camera {
    login: Option<Credentials>,
    insecure: bool,
    /// How far its clock is ahead of ours.
    ahead: SignedDuration,
}

impl Camera {
    async fn tell(&mut self, service: &Url, details: &mut Details, scopes: &mut Scopes) -> Result<(), Refusal> {
        // Everybody may ask this. A camera that does not answer it answers nothing.
        let clock = self.ask(service, &question(DEVICE, "GetSystemDateAndTime", ""), false).await;
        match clock {
            Ok(answer) => self.ahead = ahead(&answer, Timestamp::now()).unwrap_or_default(),
            Err(Refusal::Failed(words)) => return Err(Refusal::Failed(words)),
            Err(Refusal::Unauthorized(_)) => {}
        }
        let known = self.ask(service, &question(DEVICE, "GetDeviceInformation", ""), true).await;
        if let Some(answer) = unless_unauthorized(known)? {
            read(&answer, |document| {
                let field = |name: &str| text_at(document.root(), &["GetDeviceInformationResponse", name]);
                details.manufacturer = field("Manufacturer");
                details.model = field("Model");
                details.firmware = field("FirmwareVersion");
                details.serial = field("SerialNumber");
            })?;
        }
        if *scopes == Scopes::default() {
            let told = self.ask(service, &question(DEVICE, "GetScopes", ""), true).await;
            if let Some(answer) = unless_unauthorized(told)? {
                let items =
                    |document: &Document<'_>| each(document.root(), "ScopeItem").map(soap::text).collect::<Vec<_>>();
                *scopes = probe::scopes(&read(&answer, items)?.join(" "));
            }
        }
        let media = self.media(service).await?;
        let profiles = self.ask(&media.url, &media.profiles(), true).await?;
        details.profiles = read(&profiles, profiles_in)?;
        for profile in &mut details.profiles {
            let stream = self.ask(&media.url, &media.stream(&profile.token), true).await;
            profile.stream = unless_unauthorized(stream)?.and_then(|answer| address(&answer, service));
            let snapshot = self.ask(&media.url, &media.snapshot(&profile.token), true).await;
            profile.snapshot = unless_unauthorized(snapshot)?.and_then(|answer| address(&answer, service));
        }
        match details.profiles.is_empty() {
            true => Err(Refusal::Failed("offers no profile: make one in the camera's settings".into())),
            false => Ok(()),
        }
    }

    /// Where the media service is. A camera that does not tell its services tells its capabilities, which is older.
    async fn media(&self, service: &Url) -> Result<Media, Refusal> {
        let include = "<q:IncludeCapability>false</q:IncludeCapability>";
        let services = self.ask(service, &question(DEVICE, "GetServices", include), true).await;
        if let Some(answer) = unless_unauthorized(services)? {
            let found = read(&answer, |document| media_in(document, service))?;
            if let Some(media) = found {
                return Ok(media);
            }
        }
        let category = "<q:Category>All</q:Category>";
        let answer = self.ask(service, &question(DEVICE, "GetCapabilities", category), true).await?;
        let url =
            read(&answer, |document| here(&text_at(document.root(), &["Capabilities", "Media", "XAddr"]), service))?;
        let url =
            url.ok_or_else(|| Refusal::Failed("has no media service: it is no camera, or not by ONVIF".into()))?;
        Ok(Media { url, second: false })
    }

    /// The answer to a question, with the login where one is wanted.
    async fn ask(&self, url: &Url, question: &str, as_user: bool) -> Result<String, Refusal> {
        let login = self.login.as_ref().filter(|_| as_user);
        let created = Timestamp::now().checked_add(self.ahead).unwrap_or_else(|_| Timestamp::now());
        let header = login.map(|login| username_token(login, rand::random(), created)).unwrap_or_default();
        let mut url = url.clone();
        if let Some(Credentials { username, password }) = login {
            // For a camera that wants a login of HTTP beside or instead. A URL with a host takes them.
            let _ = url.set_username(username);
            let _ = url.set_password(Some(password));
        }
        let tls = self.insecure.then_some(CameraTls { ca_secret_ref: None, insecure_skip_verify: true });
        let asked = post(url, tls, envelope(&header, question));
        match timeout(TIMEOUT, asked).await {
            Ok(Err(Refusal::Unauthorized(_))) => Err(Refusal::Unauthorized(match login {
                Some(_) => "refuses this user name and password".into(),
                None => "wants a login: give `--user` and `--password-file`".into(),
            })),
            Ok(answer) => answer,
            Err(_) => Err(Refusal::Failed(format!("does not answer within {} s", TIMEOUT.as_secs()))),
        }
    }
}

async fn post(url: Url, tls: Option<CameraTls>, question: String) -> Result<String, Refusal> {
    let failed = |e: crate::source::SourceError| match e.reason {
        Reason::CameraUnauthorized => Refusal::Unauthorized(e.message),
        _ => Refusal::Failed(e.message),
    };
    let nothing = Secrets::new(None, Default::default());
    let mut camera = HttpCamera::new(url.as_str(), None, tls.as_ref(), "", &nothing).map_err(failed)?;
    let content_type = "application/soap+xml; charset=utf-8";
    let mut response = camera.post(content_type, question.into()).await.map_err(failed)?;
    let status = response.status();
    let mut bytes = vec![];
    while let Some(chunk) = response.chunk().await.map_err(|e| failed(camera.broke_off(&e)))? {
        if bytes.len() + chunk.len() > LONGEST {
            return Err(Refusal::Failed(format!("answers with more than {LONGEST} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    let answer = String::from_utf8_lossy(&bytes).into_owned();
    let fault = soap::read(&answer).map(|document| soap::fault(&document));
    match fault {
        Ok(Some(fault)) if fault.unauthorized => Err(Refusal::Unauthorized(fault.reason)),
        Ok(Some(fault)) => Err(Refusal::Failed(format!("answers with the fault “{}”", shown(&fault.reason)))),
        _ if !status.is_success() => Err(Refusal::Failed(format!("answered {status}"))),
        Ok(None) => Ok(answer),
        Err(words) => Err(Refusal::Failed(words)),
    }
}

/// A camera's words, as they may be shown.
fn shown(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(120).collect()
}

/// An answer, or that there is none, where another question may be answered yet.
fn unless_unauthorized<T>(answer: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Refusal::Failed(_)) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

fn read<T>(answer: &str, with: impl FnOnce(&Document<'_>) -> T) -> Result<T, Refusal> {
    soap::read(answer).map(|document| with(&document)).map_err(Refusal::Failed)
}

fn question(namespace: &str, name: &str, body: &str) -> String {
    format!("<q:{name} xmlns:q=\"{namespace}\" xmlns:t=\"{SCHEMA}\">{body}</q:{name}>")
}

/// How far the camera's clock is ahead of this one.
fn ahead(answer: &str, now: Timestamp) -> Option<SignedDuration> {
    let document = soap::read(answer).ok()?;
    let utc = soap::first(document.root(), "UTCDateTime")?;
    let part = |group: &str, name: &str| text_at(utc, &[group, name]).parse::<i16>().ok();
    let small = |group: &str, name: &str| part(group, name).and_then(|n| i8::try_from(n).ok());
    let (date, time) = ("Date", "Time");
    let told = civil::DateTime::new(
        part(date, "Year")?,
        small(date, "Month")?,
        small(date, "Day")?,
        small(time, "Hour")?,
        small(time, "Minute")?,
        small(time, "Second")?,
        0,
    );
    let told = told.ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Some(told.duration_since(now))
}

/// A media service, and its words for the questions.
#[derive(Debug, PartialEq, Eq)]
struct Media {
    url: Url,
    /// It is that of profile T.
    second: bool,
}

impl Media {
    fn namespace(&self) -> &'static str {
        if self.second { MEDIA2 } else { MEDIA }
    }

    fn profiles(&self) -> String {
        question(self.namespace(), "GetProfiles", if self.second { "<q:Type>VideoEncoder</q:Type>" } else { "" })
    }

    fn stream(&self, token: &str) -> String {
        let token = escaped(token);
        let body = match self.second {
            true => format!("<q:Protocol>RTSP</q:Protocol><q:ProfileToken>{token}</q:ProfileToken>"),
            false => format!(
                "<q:StreamSetup><t:Stream>RTP-Unicast</t:Stream><t:Transport><t:Protocol>RTSP</t:Protocol></t:Transport>\
                 </q:StreamSetup><q:ProfileToken>{token}</q:ProfileToken>"
            ),
        };
        question(self.namespace(), "GetStreamUri", &body)
    }

    fn snapshot(&self, token: &str) -> String {
        let body = format!("<q:ProfileToken>{}</q:ProfileToken>", escaped(token));
        question(self.namespace(), "GetSnapshotUri", &body)
    }
}

/// The media service among a camera's services; the first version where it has both, since all know it.
fn media_in(document: &Document<'_>, service: &Url) -> Option<Media> {
    let of = |namespace: &str| {
        let mut services = each(document.root(), "Service");
        let found = services.find(|service| text_at(*service, &["Namespace"]) == namespace)?;
        here(&text_at(found, &["XAddr"]), service)
    };
    let first = of(MEDIA).map(|url| Media { url, second: false });
    first.or_else(|| of(MEDIA2).map(|url| Media { url, second: true }))
}

/// A service's address at the host that was asked: behind a translation of addresses a camera names one that nobody
/// reaches, and whoever names another host wants a login that is not for it.
fn here(address: &str, service: &Url) -> Option<Url> {
    let mut url = Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())?;
    if url.host() != service.host() {
        url.set_host(service.host_str()).ok()?;
        url.set_port(service.port()).ok()?;
        url.set_scheme(service.scheme()).ok()?;
    }
    Some(url)
}

/// The address of a stream or of pictures in an answer, without its login.
fn address(answer: &str, service: &Url) -> Option<Url> {
    let document = soap::read(answer).ok()?;
    let mut url = Url::parse(&text_at(document.root(), &["Body", "Uri"])).ok()?;
    // Some name no address of theirs.
    let nowhere = match url.host()? {
        Host::Domain(name) => name.is_empty(),
        Host::Ipv4(ip) => ip.is_unspecified(),
        Host::Ipv6(ip) => ip.is_unspecified(),
    };
    // `rtsp` is no scheme that `url` knows, and to it any host is a name.
    if nowhere || url.host_str() == Some("0.0.0.0") {
        url.set_host(service.host_str()).ok()?;
    }
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(url)
}

fn profiles_in(document: &Document<'_>) -> Vec<Profile> {
    each(document.root(), "Profiles").take(PROFILES).filter_map(profile).collect()
}

/// A profile of either version of the media service.
fn profile(node: Node<'_, '_>) -> Option<Profile> {
    let token = node.attribute("token").filter(|token| !token.is_empty())?.to_owned();
    let name = node.children().find(|child| child.tag_name().name() == "Name").map(soap::text).unwrap_or_default();
    let encoder = ["VideoEncoderConfiguration", "VideoEncoder"].iter().find_map(|name| soap::first(node, name));
    let text = |path: &[&str]| encoder.map(|encoder| text_at(encoder, path)).unwrap_or_default();
    let number = |path: &[&str]| text(path).parse::<f64>().ok().map_or(0, |n| n.round() as u32);
    Some(Profile {
        name,
        token,
        encoding: text(&["Encoding"]),
        width: number(&["Resolution", "Width"]),
        height: number(&["Resolution", "Height"]),
        frame_rate: number(&["RateControl", "FrameRateLimit"]),
        stream: None,
        snapshot: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn both_media_services_tell_their_profiles_alike() {
        let first = "<E><Profiles token='a&amp;b' fixed='true'><Name>Main</Name><VideoSourceConfiguration token='v'>\
            <Name>Source</Name></VideoSourceConfiguration><VideoEncoderConfiguration token='e'><Name>E</Name>\
            <Encoding>H264</Encoding><Resolution><Width>1920</Width><Height>1080</Height></Resolution><RateControl>\
            <FrameRateLimit>25</FrameRateLimit></RateControl></VideoEncoderConfiguration></Profiles></E>";
        let second = "<E><Profiles token='a&amp;b'><Name>Main</Name><Configurations><VideoSource><Name>Source</Name>\
            </VideoSource><VideoEncoder token='e'><Name>E</Name><Encoding>H264</Encoding><Resolution><Width>1920</Width>\
            <Height>1080</Height></Resolution><RateControl><FrameRateLimit>25.000</FrameRateLimit></RateControl>\
            </VideoEncoder></Configurations></Profiles></E>";
        let expected = Profile {
            name: "Main".into(),
            token: "a&b".into(),
            encoding: "H264".into(),
            width: 1920,
            height: 1080,
            frame_rate: 25,
            ..Profile::default()
        };
        for answer in [first, second] {
            assert_eq!(profiles_in(&soap::read(answer).expect("XML")), std::slice::from_ref(&expected));
        }
        let bare = soap::read("<E><Profiles token='t'/><Profiles/></E>").expect("XML");
        assert_eq!(profiles_in(&bare), [Profile { token: "t".into(), ..Profile::default() }]);
    }

    #[test]
    fn the_clock_of_a_camera_is_the_one_that_its_login_counts_by() {
        let answer = "<E><UTCDateTime><Time><Hour>7</Hour><Minute>50</Minute><Second>45</Second></Time><Date>\
            <Year>2010</Year><Month>9</Month><Day>16</Day></Date></UTCDateTime></E>";
        let now: Timestamp = "2010-09-16T08:00:45Z".parse().expect("a time");
        assert_eq!(ahead(answer, now), Some(SignedDuration::from_mins(-10)));
        for broken in [answer.replace("<Month>9", "<Month>90"), answer.replace("2010", "?"), "<E/>".into()] {
            assert_eq!(ahead(&broken, now), None, "{broken}");
        }
    }

    #[test]
    fn services_are_asked_where_the_camera_is() {
        let service = url("http://192.168.1.7:8000/onvif/device_service");
        let services = |first: &str| {
            format!(
                "<E><Service><Namespace>{MEDIA2}</Namespace><XAddr>http://192.168.1.7:8000/media2</XAddr></Service>{first}</E>"
            )
        };
        let first = format!("<Service><Namespace>{MEDIA}</Namespace><XAddr>http://10.0.0.7/media</XAddr></Service>");
        let of = |text: String| media_in(&soap::read(&text).expect("XML"), &service);
        let expected = Media { url: url("http://192.168.1.7:8000/media"), second: false };
        assert_eq!(of(services(&first)), Some(expected), "10.0.0.7 is what it is called behind a translation");
        let expected = Media { url: url("http://192.168.1.7:8000/media2"), second: true };
        assert_eq!(of(services("")), Some(expected));
        assert_eq!(of("<E/>".into()), None);
    }

    #[test]
    fn addresses_come_without_a_login_and_with_a_host() {
        let service = url("http://192.168.1.7/onvif/device_service");
        let of = |uri: &str| {
            let answer = format!("<E><Body><R><MediaUri><Uri> {} </Uri></MediaUri></R></Body></E>", escaped(uri));
            address(&answer, &service).map(String::from)
        };
        assert_eq!(of("rtsp://192.168.1.7:554/a?b=1&c=2"), Some("rtsp://192.168.1.7:554/a?b=1&c=2".into()));
        assert_eq!(of("rtsp://ann:secret@192.168.1.7/a"), Some("rtsp://192.168.1.7/a".into()));
        assert_eq!(of("rtsp://0.0.0.0:554/a"), Some("rtsp://192.168.1.7:554/a".into()));
        assert_eq!(of("http://0.0.0.0/picture.jpg"), Some("http://192.168.1.7/picture.jpg".into()));
        assert_eq!(of("picture.jpg"), None);
        assert_eq!(of(""), None);
    }
}
