//! WS-Discovery (April 2005, as ONVIF prescribes it): a question to all on a network, over UDP, and who answers.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use edgereel_runtime::plain::plain;
use futures::future::join_all;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout_at},
};
use url::{Host, Url};

use super::{
    Credentials,
    soap::{self, each, envelope, text, text_at},
};

/// WS-Discovery's port.
pub const PORT: u16 = 3702;
/// WS-Discovery's group for IPv4.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
/// A probe gets lost like any datagram, and is sent so often.
const TIMES: u32 = 3;
/// Some cameras answer to the one type, some to the other.
const TYPES: [&str; 2] = [
    "<d:Types xmlns:n=\"http://www.onvif.org/ver10/network/wsdl\">n:NetworkVideoTransmitter</d:Types>",
    "<d:Types xmlns:n=\"http://www.onvif.org/ver10/device/wsdl\">n:Device</d:Types>",
];
/// No datagram is longer.
const DATAGRAM: usize = 1 << 16;

/// Who answered a probe, or was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Where the answer came from; unspecified for one that was named by its URL.
    pub from: IpAddr,
    /// Its identity: an address that is none, `urn:uuid:…`.
    pub endpoint: String,
    /// Where it says that its device service is.
    pub services: Vec<Url>,
    /// What it says of itself.
    pub scopes: Scopes,
}

/// What a camera says of itself to everybody (ONVIF Core Specification, 7.3.2.2); empty where it does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scopes {
    /// A name that somebody gave it, or its model.
    pub name: String,
    /// What it is.
    pub hardware: String,
    /// Where it is.
    pub location: String,
}

/// A camera's device service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Where it is.
    pub url: Url,
    /// Whether it is at the address that answered, or was named by a person.
    trusted: bool,
}

impl Service {
    /// Anybody may answer a probe with any address: a login goes only to where the answer came from.
    pub fn login(&self, login: Option<&Credentials>) -> Option<Credentials> {
        login.filter(|_| self.trusted).cloned()
    }
}

impl Answer {
    /// Somebody who was named.
    pub fn asked(from: IpAddr, url: Url) -> Self {
        Answer { from, endpoint: String::new(), services: vec![url], scopes: Scopes::default() }
    }

    /// Its device service: that at the address which answered, before any other.
    pub fn service(&self) -> Option<Service> {
        let at = |url: &Url| match url.host() {
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip) == self.from,
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip) == self.from,
            _ => false,
        };
        let trusted = self.services.iter().find(|url| at(url) || self.endpoint.is_empty());
        let url = trusted.or_else(|| self.services.first())?.clone();
        Some(Service { url, trusted: trusted.is_some() })
    }
}

/// Asks all on these interfaces' networks and these addresses, and gives who answered before the wait was over; each once.
///
/// # Errors
/// In words: nobody could be asked, though somebody was to be.
pub async fn probe(interfaces: &[Ipv4Addr], unicast: &[SocketAddr], wait: Duration) -> Result<Vec<Answer>, String> {
    let until = Instant::now() + wait;
    let networks = interfaces.iter().map(|ip| (IpAddr::V4(*ip), vec![SocketAddr::from((GROUP, PORT))]));
    let named = [true, false].into_iter().filter_map(|v4| {
        let to: Vec<SocketAddr> = unicast.iter().filter(|to| to.is_ipv4() == v4).copied().collect();
        let from = if v4 { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
        (!to.is_empty()).then_some((from, to))
    });
    let asked = join_all(networks.chain(named).map(|(from, to)| ask(from, to, until, wait / TIMES))).await;
    let (mut answers, mut failures) = (Vec::<Answer>::new(), vec![]);
    for outcome in asked {
        match outcome {
            Ok(found) => answers.extend(found),
            Err(failure) => failures.push(failure),
        }
    }
    answers.sort_by(|a, b| (&a.endpoint, a.from).cmp(&(&b.endpoint, b.from)));
    answers.dedup_by(|a, b| a.endpoint == b.endpoint && a.from == b.from);
    // A network that is down beside one that answers is no failure.
    if answers.is_empty() && !failures.is_empty() { Err(failures.join("; ")) } else { Ok(answers) }
}

/// Sends the probes from this address, several times, and listens.
async fn ask(from: IpAddr, to: Vec<SocketAddr>, until: Instant, pause: Duration) -> Result<Vec<Answer>, String> {
    let failed = |e: io::Error| format!("cannot send a probe from {from}: {}", plain(e));
    // Linux sends to a group over the interface that has the address which the socket is bound to.
    let socket = UdpSocket::bind(SocketAddr::new(from, 0)).await.map_err(failed)?;
    let (mut answers, mut buffer) = (vec![], vec![0; DATAGRAM]);
    let mut next = Instant::now();
    let mut sent = Err(String::new());
    loop {
        if next <= Instant::now() {
            for (to, types) in to.iter().flat_map(|to| TYPES.iter().map(move |types| (to, types))) {
                match socket.send_to(question(types).as_bytes(), to).await {
                    Ok(_) => sent = Ok(()),
                    Err(e) if sent.is_err() => sent = Err(failed(e)),
                    Err(_) => {}
                }
            }
            next += pause;
        }
        match timeout_at(next.min(until), socket.recv_from(&mut buffer)).await {
            Ok(Ok((length, peer))) => answers.extend(read(&String::from_utf8_lossy(&buffer[..length]), peer.ip())),
            // Nobody listens at an address that was named, or the network is down: the others may answer yet.
            Ok(Err(_)) => {}
            Err(_) if Instant::now() >= until => break,
            Err(_) => {}
        }
    }
    sent.map(|()| answers)
}

fn question(types: &str) -> String {
    let id = rand::random::<u128>();
    let header = format!(
        "<a:Action xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" s:mustUnderstand=\"1\">\
         http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action>\
         <a:MessageID xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\">urn:uuid:{}</a:MessageID>\
         <a:To xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" s:mustUnderstand=\"1\">\
         urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To>",
        uuid(id)
    );
    let body = format!("<d:Probe xmlns:d=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\">{types}</d:Probe>");
    envelope(&header, &body)
}

/// A random UUID, RFC 9562's version 4.
fn uuid(random: u128) -> String {
    let bits = random & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let digits = format!("{bits:032x}");
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// The cameras in an answer; nothing for what is none.
fn read(answer: &str, from: IpAddr) -> Vec<Answer> {
    let Ok(document) = soap::read(answer) else { return vec![] };
    let camera = |found: roxmltree::Node<'_, '_>| {
        let services: Vec<Url> = text_at(found, &["XAddrs"])
            .split_whitespace()
            .filter_map(|address| Url::parse(address).ok())
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .collect();
        let endpoint = text_at(found, &["EndpointReference", "Address"]);
        // Without an identity, the address has to do.
        let endpoint = if endpoint.is_empty() { from.to_string() } else { endpoint };
        let scopes = scopes(&each(found, "Scopes").map(text).collect::<Vec<_>>().join(" "));
        (!services.is_empty()).then_some(Answer { from, endpoint, services, scopes })
    };
    each(document.root(), "ProbeMatch").filter_map(camera).collect()
}

/// What a list of scopes says.
pub fn scopes(list: &str) -> Scopes {
    let mut scopes = Scopes::default();
    for scope in list.split_whitespace() {
        let Some((_, path)) = scope.split_once("://www.onvif.org/") else { continue };
        let (what, value) = path.split_once('/').unwrap_or((path, ""));
        let value = percent_decode_str(value).decode_utf8_lossy().trim().to_owned();
        let field = match what.to_ascii_lowercase().as_str() {
            "name" => &mut scopes.name,
            "hardware" => &mut scopes.hardware,
            "location" => &mut scopes.location,
            _ => continue,
        };
        // Some have several, from the general to the particular.
        if !field.is_empty() && !value.is_empty() {
            field.push_str(", ");
        }
        field.push_str(&value);
    }
    scopes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(body: &str) -> String {
        format!(
            "<?xml version='1.0'?><E:Envelope xmlns:E='e' xmlns:d='d' xmlns:a='a'><E:Body><d:ProbeMatches>{body}\
             </d:ProbeMatches></E:Body></E:Envelope>"
        )
    }

    #[test]
    fn an_answer_tells_identity_service_and_names() {
        let from = IpAddr::from([192, 168, 1, 7]);
        let text = answer(
            "<d:ProbeMatch><a:EndpointReference><a:Address> urn:uuid:1 </a:Address></a:EndpointReference>\
             <d:Scopes>onvif://www.onvif.org/type/video_encoder onvif://www.onvif.org/name/Gate%20North \
             onvif://www.onvif.org/location/country/china onvif://www.onvif.org/location/yard \
             onvif://www.onvif.org/hardware/IPC-1</d:Scopes>\
             <d:XAddrs>http://10.0.0.7/onvif/device_service http://192.168.1.7:8000/onvif/device_service \
             http://[fe80::1]/onvif/device_service</d:XAddrs></d:ProbeMatch>",
        );
        let [found] = &read(&text, from)[..] else { panic!("one camera") };
        assert_eq!(found.endpoint, "urn:uuid:1");
        assert_eq!(found.scopes.name, "Gate North");
        assert_eq!(found.scopes.location, "country/china, yard");
        assert_eq!(found.scopes.hardware, "IPC-1");
        let service = found.service().expect("a service");
        assert_eq!(service.url.as_str(), "http://192.168.1.7:8000/onvif/device_service");
        let login = Credentials { username: "ann".into(), password: "secret".into() };
        assert!(service.login(Some(&login)).is_some());
    }

    #[test]
    fn a_login_goes_nowhere_but_to_the_address_that_answered() {
        let text = answer("<d:ProbeMatch><d:XAddrs>http://203.0.113.9/collect</d:XAddrs></d:ProbeMatch>");
        let [found] = &read(&text, IpAddr::from([192, 168, 1, 7]))[..] else { panic!("one camera") };
        assert_eq!(found.endpoint, "192.168.1.7", "it told none");
        let login = Credentials { username: "ann".into(), password: "secret".into() };
        let service = found.service().expect("a service");
        assert!(service.login(Some(&login)).is_none());
        let named = Answer::asked(IpAddr::from([0; 4]), service.url);
        assert!(named.service().expect("a service").login(Some(&login)).is_some(), "a person named it");
    }

    #[test]
    fn what_has_no_service_is_no_camera() {
        for body in ["", "<d:ProbeMatch/>", "<d:ProbeMatch><d:XAddrs>ftp://a/ x http://</d:XAddrs></d:ProbeMatch>"] {
            assert_eq!(read(&answer(body), IpAddr::from([127, 0, 0, 1])), [], "{body}");
        }
    }

    #[test]
    fn a_uuid_is_of_version_4() {
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    proptest! {
        #[test]
        fn no_datagram_stops_the_search(bytes in proptest::collection::vec(any::<u8>(), 0..400), body in "[<>/a-zA-Z:&;=' ]{0,200}") {
            let from = IpAddr::from([127, 0, 0, 1]);
            let _ = read(&String::from_utf8_lossy(&bytes), from);
            for answer in read(&answer(&format!("<d:ProbeMatch>{body}</d:ProbeMatch>")), from) {
                prop_assert!(answer.service().is_some());
            }
        }
    }
}
