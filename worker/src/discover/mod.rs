//! `edgereel discover`: which cameras there are at this machine and on its networks, and what they offer.
//!
//! The machine's own are Video4Linux2 devices ([`local`]).
//! ONVIF cameras answer a WS-Discovery probe ([`probe`]) with the address of their services, which say the rest ([`onvif`])
//! over SOAP ([`soap`]). What was found becomes resources ([`resources`]).

pub mod local;
pub mod onvif;
pub mod probe;
pub mod resources;
mod soap;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use edgereel_runtime::plain::plain;
use futures::{StreamExt, stream};
use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};
use serde::{Serialize, Serializer};
use url::Url;

pub use crate::source::login::Credentials;
use onvif::Details;
use probe::{Answer, Scopes};

/// So many cameras are asked at once.
const AT_ONCE: usize = 16;

/// Where to look, and how.
pub struct Search {
    /// Addresses of this machine's interfaces whose networks are probed.
    pub interfaces: Vec<Ipv4Addr>,
    /// Who is asked by address, wherever it is.
    pub targets: Vec<Target>,
    /// How long answers are waited for.
    pub wait: Duration,
    /// For the cameras that want one.
    pub login: Option<Credentials>,
    /// Take any certificate.
    pub insecure: bool,
}

/// Somebody who is asked by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Is probed, and asked at the path that ONVIF prescribes should it not answer a probe.
    Address(IpAddr),
    /// Its device service.
    Url(Url),
}

/// A camera that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Camera {
    /// At this machine.
    V4l2(local::Local),
    /// On a network.
    Onvif(Device),
}

/// A camera that answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Its device service.
    #[serde(serialize_with = "text")]
    pub address: Url,
    /// Its identity, which stays when its address changes; empty where nobody told it.
    pub endpoint: String,
    /// What it calls itself and what it is, as it announces to everybody.
    pub scopes: Scopes,
    /// What it says on being asked.
    #[serde(flatten)]
    pub details: Details,
    /// Why it does not say all, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

fn text<S: Serializer>(url: &Url, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(url.as_str())
}

/// The networks that can be probed: each interface that is up and carries multicast, but loopback.
///
/// # Errors
/// The kernel does not tell its interfaces.
pub fn interfaces() -> Result<Vec<(String, Ipv4Addr)>, String> {
    let wanted = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_MULTICAST;
    Ok(addresses()?
        .into_iter()
        .filter(|(_, _, flags)| flags.contains(wanted) && !flags.contains(InterfaceFlags::IFF_LOOPBACK))
        .map(|(name, address, _)| (name, address))
        .collect())
}

/// The IPv4 addresses of the interface with this name or this address, `lo` included.
///
/// # Errors
/// In words: there is none, or it has no IPv4 address.
pub fn interface(wanted: &str) -> Result<Vec<Ipv4Addr>, String> {
    let all = addresses()?;
    let is = |(name, address, _): &&(String, Ipv4Addr, InterfaceFlags)| name == wanted || address.to_string() == wanted;
    let found: Vec<Ipv4Addr> = all.iter().filter(is).map(|(_, address, _)| *address).collect();
    if found.is_empty() {
        let known: BTreeSet<&str> = all.iter().map(|(name, _, _)| name.as_str()).collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        return Err(format!("no interface `{wanted}` with an IPv4 address: there are {known}"));
    }
    Ok(found)
}

fn addresses() -> Result<Vec<(String, Ipv4Addr, InterfaceFlags)>, String> {
    let all = getifaddrs().map_err(|e| format!("cannot list the network interfaces: {}", plain(e)))?;
    let ipv4 = |address: nix::ifaddrs::InterfaceAddress| {
        let ip = address.address.as_ref()?.as_sockaddr_in()?.ip();
        Some((address.interface_name, ip, address.flags))
    };
    Ok(all.filter_map(ipv4).collect())
}

/// Looks for cameras and asks each what it offers.
///
/// # Errors
/// In words: no probe could be sent at all.
pub async fn discover(search: &Search) -> Result<Vec<Device>, String> {
    let unicast = search.targets.iter().filter_map(|target| match target {
        Target::Address(ip) => Some(SocketAddr::new(*ip, probe::PORT)),
        Target::Url(_) => None,
    });
    let mut answers = probe::probe(&search.interfaces, &unicast.collect::<Vec<_>>(), search.wait).await?;
    for target in &search.targets {
        match target {
            Target::Address(ip) if !answers.iter().any(|answer| answer.from == *ip) => {
                answers.extend(prescribed(*ip).map(|url| Answer::asked(*ip, url)));
            }
            Target::Address(_) => {}
            Target::Url(url) => answers.push(Answer::asked(IpAddr::from([0, 0, 0, 0]), url.clone())),
        }
    }
    let asked = answers.into_iter().filter_map(|answer| Some((answer.service()?, answer)));
    let looks = asked.map(|(service, answer)| async move {
        let Answer { endpoint, mut scopes, .. } = answer;
        let login = service.login(search.login.as_ref());
        let (details, problem) = onvif::look(&service.url, login, search.insecure, &mut scopes).await;
        Device { address: service.url, endpoint, scopes, details, problem }
    });
    let mut devices: Vec<Device> = stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
    devices.sort_by(|a, b| (a.address.host_str(), a.address.port()).cmp(&(b.address.host_str(), b.address.port())));
    // One camera on two networks of this machine, or named beside what the probe found.
    let mut seen = BTreeSet::new();
    devices.retain(|device| {
        let identity = if device.endpoint.is_empty() { device.address.to_string() } else { device.endpoint.clone() };
        seen.insert(identity)
    });
    Ok(devices)
}

/// ONVIF Core Specification, 5.10: the device service is at this path.
fn prescribed(ip: IpAddr) -> Option<Url> {
    let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
    Url::parse(&format!("http://{host}/onvif/device_service")).ok()
}
