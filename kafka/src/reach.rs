//! Whether this process reaches the brokers of a `KafkaConnection`, whichever of its clients has tried: for `/status`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use edgereel_crds::{name::ObjectName, plan::Connection, status::Reason, worker_status::ConnectionReport};
use jiff::Timestamp;

use super::health::{Faint, Health, Snapshot};

/// By the name of their `KafkaConnection`: the clients of this process.
static CLIENTS: Mutex<BTreeMap<ObjectName, Clients>> = Mutex::new(BTreeMap::new());

/// The clients of one connection.
#[derive(Default)]
struct Clients {
    healths: Vec<Faint>,
    logs_in: bool,
    /// As it was told last, for when no client is left.
    told: Option<ConnectionReport>,
}

/// A client of a connection has been made.
pub(super) fn note(connection: &Connection, health: &Health) {
    let mut all = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    let clients = all.entry(connection.name.clone()).or_default();
    clients.logs_in = connection.spec.sasl.is_some();
    clients.healths.retain(|health| health.upgrade().is_some());
    clients.healths.push(health.faint());
}

/// What the clients of a connection know of it; none before one was made, or any has tried.
pub fn report(connection: &ObjectName) -> Option<ConnectionReport> {
    let mut all = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    let clients = all.get_mut(connection)?;
    let healths: Vec<Health> = clients.healths.iter().filter_map(Faint::upgrade).collect();
    let before = clients.told.as_ref().and_then(|told| told.last_reached);
    let now = told(connection, &healths, clients.logs_in, before, Timestamp::now());
    if now.is_some() {
        clients.told = now;
    }
    clients.told.clone()
}

fn told(
    connection: &ObjectName,
    healths: &[Health],
    logs_in: bool,
    before: Option<Timestamp>,
    now: Timestamp,
) -> Option<ConnectionReport> {
    let snapshots: Vec<Snapshot> = healths.iter().map(Health::snapshot).collect();
    let reached = snapshots.contains(&Snapshot::Up);
    // Beside the brokers by their own addresses there are those that were asked first, and the group's coordinator.
    let brokers =
        healths.iter().flat_map(Health::brokers).filter(|name| name.contains('/') && !name.ends_with("/bootstrap"));
    let brokers: BTreeSet<String> = brokers.collect();
    // A refused login tells more than a connection that was closed after it.
    let faults = snapshots.iter().filter_map(|snapshot| match snapshot {
        Snapshot::Down(fault) => Some(fault),
        Snapshot::Up | Snapshot::Connecting => None,
    });
    let fault = faults.max_by_key(|fault| (fault.reason == Reason::KafkaUnauthorized, !fault.retriable));
    if !reached && fault.is_none() {
        return None;
    }
    let refused = fault.is_some_and(|fault| fault.reason == Reason::KafkaUnauthorized);
    Some(ConnectionReport {
        namespace: connection.namespace.clone(),
        name: connection.name.clone(),
        reached,
        brokers: brokers.into_iter().collect(),
        login: logs_in.then_some(reached && !refused).filter(|works| *works || refused),
        last_reached: if reached { Some(now) } else { before },
        reason: fault.map(|fault| fault.reason),
        error: fault.map(|fault| fault.message.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::KafkaFault;

    fn name() -> ObjectName {
        ObjectName { namespace: "lab".into(), name: "kafka".into() }
    }

    #[test]
    fn one_client_that_reaches_a_broker_is_enough_and_none_that_has_tried_says_nothing() {
        let (idle, works, refused) = (Health::default(), Health::default(), Health::default());
        let now = Timestamp::now();
        let of = |healths: &[&Health]| {
            let healths: Vec<Health> = healths.iter().map(|health| (*health).clone()).collect();
            told(&name(), &healths, true, None, now)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[&idle]), None, "it has not tried");
        refused.broker_failed("a:9092/1", KafkaFault::lasting(Reason::KafkaUnauthorized, "wrong password"), false);
        let said = of(&[&idle, &refused]).expect("it has tried");
        assert_eq!((said.reached, said.login, said.reason), (false, Some(false), Some(Reason::KafkaUnauthorized)));
        works.statistics([
            ("a:9092/1", "UP"),
            ("b:9092/2", "UP"),
            ("c:9092/3", "DOWN"),
            ("a:9092/bootstrap", "UP"),
            ("GroupCoordinator", "UP"),
        ]);
        let said = of(&[&idle, &works]).expect("it has tried");
        assert_eq!((said.reached, said.login, said.last_reached), (true, Some(true), Some(now)));
        assert_eq!(said.brokers, ["a:9092/1", "b:9092/2"]);
    }
}
