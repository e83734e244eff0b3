//! Whether a client reaches its brokers, worked out from what librdkafka says of each.
//!
//! librdkafka has no such question to ask: it retries for ever, hides a wrong password until the records time out, and
//! does not raise "all brokers down" reliably (2.12). So we keep a ledger of its brokers, from the error callback, the
//! log and the statistics, and believe acknowledged work above all.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use edgereel_crds::status::Reason;
use tokio::sync::watch;

use super::fault::KafkaFault;

/// What a client knows of its brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// No broker has answered or failed yet.
    Connecting,
    /// At least one broker is connected.
    Up,
    /// None is, and this is the most telling reason.
    Down(KafkaFault),
}

/// A client's health. Cheap to clone; all clones show the same.
#[derive(Clone, Debug)]
pub struct Health {
    ledger: Arc<watch::Sender<Ledger>>,
}

/// A client's health, as long as there is the client.
#[derive(Clone, Debug)]
pub(super) struct Faint(Weak<watch::Sender<Ledger>>);

impl Faint {
    /// The health, if the client is still there.
    pub(super) fn upgrade(&self) -> Option<Health> {
        Some(Health { ledger: self.0.upgrade()? })
    }
}

impl Default for Health {
    fn default() -> Self {
        Health { ledger: Arc::new(watch::Sender::new(Ledger::default())) }
    }
}

impl Health {
    /// How it stands now.
    pub fn snapshot(&self) -> Snapshot {
        self.ledger.borrow().snapshot()
    }

    /// The last fault, whether or not it has passed.
    pub fn last_fault(&self) -> Option<KafkaFault> {
        self.ledger.borrow().last_fault.clone()
    }

    /// Brokers that are connected, as of the last statistics.
    pub fn connected_brokers(&self) -> usize {
        self.ledger.borrow().up()
    }

    /// The brokers that are connected, as of the last statistics.
    pub(super) fn brokers(&self) -> Vec<String> {
        let ledger = self.ledger.borrow();
        ledger.brokers.iter().filter(|(_, fault)| fault.is_none()).map(|(name, _)| name.clone()).collect()
    }

    /// The same, without keeping it.
    pub(super) fn faint(&self) -> Faint {
        Faint(Arc::downgrade(&self.ledger))
    }

    /// Whether a broker has ever done work for this client: then its settings fit the listeners.
    pub fn has_worked(&self) -> bool {
        self.ledger.borrow().has_worked
    }

    /// A broker did work for us: an acknowledgement, a record, an answer. Cheap when nothing was wrong.
    pub fn progress(&self) {
        self.ledger.send_if_modified(Ledger::progress);
    }

    /// Waits until the health is as wanted, and gives it; at once when it is so already. Cancel-safe.
    pub async fn wait_until(&self, mut wanted: impl FnMut(&Snapshot) -> bool) -> Snapshot {
        let mut receiver = self.ledger.subscribe();
        // The sender lives in `self`, so the wait itself cannot fail.
        let _ = receiver.wait_for(|ledger| wanted(&ledger.snapshot())).await;
        self.snapshot()
    }

    /// A broker failed, with an error or by merely hanging up.
    pub(super) fn broker_failed(&self, broker: &str, fault: KafkaFault, hung_up: bool) {
        self.ledger.send_if_modified(|ledger| ledger.broker_failed(broker, fault, hung_up));
    }

    /// The client as a whole failed (a token, a fatal error).
    pub(super) fn client_failed(&self, fault: KafkaFault) {
        self.ledger.send_if_modified(|ledger| ledger.client_failed(fault));
    }

    /// librdkafka says that no broker is left.
    pub(super) fn all_down(&self, fault: KafkaFault) {
        self.ledger.send_if_modified(|ledger| ledger.all_down(fault));
    }

    /// The states of all brokers, by name, from the statistics.
    pub(super) fn statistics<'a>(&self, brokers: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.ledger.send_if_modified(|ledger| ledger.statistics(brokers));
    }
}

/// The pure part. Every method says whether it changed anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ledger {
    /// Brokers that are connected (`None`) or failed; those that librdkafka has not dialled are not in it.
    brokers: BTreeMap<String, Option<KafkaFault>>,
    /// A fault of the client as a whole.
    client: Option<KafkaFault>,
    /// Some broker did work since the last fault.
    working: bool,
    /// Some broker ever did.
    has_worked: bool,
    last_fault: Option<KafkaFault>,
}

impl Ledger {
    fn up(&self) -> usize {
        self.brokers.values().filter(|fault| fault.is_none()).count()
    }

    fn snapshot(&self) -> Snapshot {
        if let Some(fault) = &self.client {
            return Snapshot::Down(fault.clone());
        }
        if self.working || self.up() > 0 {
            return Snapshot::Up;
        }
        // A refused login tells more than a connection that was closed after it.
        let telling = |fault: &&KafkaFault| (fault.reason == Reason::KafkaUnauthorized, !fault.retriable);
        match self.brokers.values().flatten().max_by_key(telling) {
            Some(fault) => Snapshot::Down(fault.clone()),
            None => Snapshot::Connecting,
        }
    }

    fn progress(&mut self) -> bool {
        if self.working && self.client.is_none() {
            return false;
        }
        self.working = true;
        self.has_worked = true;
        self.client = None;
        true
    }

    fn broker_failed(&mut self, broker: &str, fault: KafkaFault, hung_up: bool) -> bool {
        // Hanging up follows a refused login or handshake, and must not hide it.
        let told = self.brokers.get(broker).is_some_and(|known| known.as_ref().is_some_and(|fault| !fault.retriable));
        if !(hung_up && told) {
            self.last_fault = Some(fault.clone());
            self.brokers.insert(broker.to_owned(), Some(fault));
        }
        self.working &= self.up() > 0;
        true
    }

    fn client_failed(&mut self, fault: KafkaFault) -> bool {
        self.last_fault = Some(fault.clone());
        self.client = Some(fault);
        true
    }

    fn all_down(&mut self, fault: KafkaFault) -> bool {
        self.brokers.retain(|_, fault| fault.is_some());
        self.working = false;
        if self.brokers.is_empty() {
            // librdkafka says it of the brokers together, and keeps to itself what it has said of each before.
            let known = self.last_fault.clone().filter(|known| known.reason == fault.reason);
            self.brokers.insert(String::new(), Some(known.unwrap_or(fault)));
        }
        true
    }

    fn statistics<'a>(&mut self, states: impl IntoIterator<Item = (&'a str, &'a str)>) -> bool {
        let before = self.clone();
        let mut brokers = BTreeMap::new();
        for (name, state) in states {
            match (state, self.brokers.remove(name).flatten()) {
                ("UP" | "UPDATE" | "REAUTH", _) => drop(brokers.insert(name.to_owned(), None)),
                // Not dialled, or idle and let go: no news either way.
                ("INIT", _) | (_, None) => {}
                (_, Some(fault)) => drop(brokers.insert(name.to_owned(), Some(fault))),
            }
        }
        self.brokers = brokers;
        if self.up() > 0 {
            self.client = None;
            // An idle client stays up when its brokers let go of the connection.
            self.working = true;
        }
        *self != before
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused() -> KafkaFault {
        KafkaFault::passing(Reason::KafkaUnreachable, "connection refused")
    }

    fn wrong_password() -> KafkaFault {
        KafkaFault::lasting(Reason::KafkaUnauthorized, "wrong password")
    }

    #[test]
    fn one_broker_of_three_may_fail_while_the_others_are_connected() {
        let health = Health::default();
        assert_eq!(health.snapshot(), Snapshot::Connecting);
        health.statistics([("a/1", "UP"), ("b/2", "UP"), ("c/3", "UP")]);
        health.broker_failed("b/2", refused(), false);
        assert_eq!((health.snapshot(), health.connected_brokers()), (Snapshot::Up, 2));
        assert_eq!(health.last_fault(), Some(refused()));
        health.broker_failed("a/1", refused(), false);
        assert_eq!(health.snapshot(), Snapshot::Up);
        health.broker_failed("c/3", refused(), false);
        assert_eq!(health.snapshot(), Snapshot::Down(refused()));
    }

    #[test]
    fn an_acknowledgement_after_a_failure_means_up_and_a_failure_after_it_means_down() {
        let health = Health::default();
        health.broker_failed("a/bootstrap", refused(), false);
        assert_eq!(health.snapshot(), Snapshot::Down(refused()));
        health.progress();
        assert_eq!(health.snapshot(), Snapshot::Up);
        health.broker_failed("a/1", refused(), false);
        assert_eq!(health.snapshot(), Snapshot::Down(refused()));
        health.statistics([("a/bootstrap", "INIT"), ("a/1", "UP")]);
        assert_eq!(health.snapshot(), Snapshot::Up);
    }

    #[test]
    fn a_refused_login_is_not_hidden_by_the_hang_up_that_follows_it() {
        let health = Health::default();
        health.broker_failed("a/bootstrap", wrong_password(), false);
        health.broker_failed("a/bootstrap", refused(), true);
        health.broker_failed("b/bootstrap", refused(), false);
        assert_eq!(health.snapshot(), Snapshot::Down(wrong_password()));
        health.broker_failed("a/bootstrap", refused(), false);
        assert_eq!(health.snapshot(), Snapshot::Down(refused()), "the broker has gone meanwhile");
    }

    #[test]
    fn all_brokers_together_are_down_for_the_reason_that_was_told_of_one() {
        let health = Health::default();
        let all = || KafkaFault::passing(Reason::KafkaUnreachable, "all are down");
        health.all_down(all());
        assert_eq!(health.snapshot(), Snapshot::Down(all()));
        health.broker_failed("a/1", refused(), false);
        health.statistics([("a/1", "INIT")]);
        assert_eq!(health.snapshot(), Snapshot::Connecting, "about to be dialled again");
        health.all_down(all());
        assert_eq!(health.snapshot(), Snapshot::Down(refused()));
    }

    #[test]
    fn an_idle_client_whose_connections_were_let_go_stays_up() {
        let health = Health::default();
        health.statistics([("a/1", "UP")]);
        health.statistics([("a/1", "TRY_CONNECT")]);
        health.statistics([("a/1", "INIT")]);
        assert_eq!(health.snapshot(), Snapshot::Up);
    }

    #[test]
    fn a_token_that_cannot_be_had_counts_until_something_works_again() {
        let health = Health::default();
        health.client_failed(wrong_password());
        assert_eq!(health.snapshot(), Snapshot::Down(wrong_password()));
        health.progress();
        assert_eq!(health.snapshot(), Snapshot::Up);
        health.all_down(refused());
        assert_eq!(health.snapshot(), Snapshot::Down(refused()));
    }

    proptest! {
        #[test]
        fn whatever_happened_before_it_is_up_right_after_work_and_down_when_the_last_broker_fails(
            events in prop::collection::vec((0..4u8, 0..3usize), 0..30),
        ) {
            let names = ["a/1", "b/2", "c/3"];
            let mut ledger = Ledger::default();
            for (event, broker) in events {
                match event {
                    0 => ledger.progress(),
                    1 => ledger.broker_failed(names[broker], refused(), false),
                    2 => ledger.client_failed(wrong_password()),
                    _ => ledger.statistics(names.map(|name| (name, if name == names[broker] { "UP" } else { "DOWN" }))),
                };
            }
            let mut after_work = ledger.clone();
            after_work.progress();
            prop_assert_eq!(after_work.snapshot(), Snapshot::Up);
            for name in names {
                ledger.broker_failed(name, refused(), false);
            }
            prop_assert!(matches!(ledger.snapshot(), Snapshot::Down(_)));
        }
    }
}
