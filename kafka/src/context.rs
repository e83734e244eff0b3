//! What every Kafka client calls back to: it feeds the [`Health`], logs, and hands out tokens.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use edgereel_crds::{name::ObjectName, plan::Connection, status::Reason};
use edgereel_runtime::{
    secrets::Secrets,
    throttle::{Throttle, Throttles},
};
use rdkafka::{
    ClientContext,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode as Code},
};
use serde::Deserialize;

use super::{
    detail::{is_getting_up, is_unreached, without_guesses},
    fault::{KafkaFault, Subject},
    health::{Health, Snapshot},
    oauth::{TokenSource, keeper::Keeper},
    reach,
};

/// The same line is logged once in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// The kind of line that says that no broker is connected.
const DOWN: &str = "DOWN";
/// How long a client that is to be made waits for its first token: less than a pod's grace period.
const FIRST_TOKEN: Duration = Duration::from_secs(20);

/// The context of a producer or an admin client, and what a consumer's context passes its [`ClientContext`] calls to
/// (all five of them, and `ENABLE_REFRESH_OAUTH_TOKEN`). Cheap to clone; all clones share the health.
#[derive(Clone)]
pub struct Context {
    health: Health,
    subject: Subject,
    tokens: Option<Arc<Keeper>>,
    throttles: Arc<Throttles>,
    unreached: Arc<Throttle>,
    unheard: bool,
}

/// By the name of their `KafkaConnection`: how often it is said that its brokers cannot be reached. Each of a process's
/// clients has a thread for each broker, and all of them say so at once.
static UNREACHED: Mutex<BTreeMap<String, Arc<Throttle>>> = Mutex::new(BTreeMap::new());

fn unreached(connection: &ObjectName) -> Arc<Throttle> {
    let mut all = UNREACHED.lock().unwrap_or_else(PoisonError::into_inner);
    all.entry(connection.to_string()).or_insert_with(|| Arc::new(Throttle::new(LOG_INTERVAL))).clone()
}

impl Context {
    /// A context with a health of its own. Fails when `sasl.oauth` cannot be used. With it, the first client of a login
    /// waits here for its token, so that there is one whenever librdkafka asks: blocks.
    pub fn new(connection: &Connection, secrets: &Secrets) -> Result<Self, KafkaFault> {
        let subject = Subject::new(connection);
        let oauth = connection.spec.sasl.as_ref().and_then(|sasl| sasl.oauth.as_ref());
        let tokens = oauth.map(|spec| {
            let keeper = Keeper::of(TokenSource::new(spec, connection, secrets, &subject)?);
            let keeper = keeper.map_err(|e| KafkaFault::passing(Reason::InternalError, format!("no thread: {e}")))?;
            keeper.wait(FIRST_TOKEN).map_err(|why| subject.no_token(&why))?;
            Ok(keeper)
        });
        let health = Health::default();
        reach::note(connection, &health);
        Ok(Context {
            health,
            subject,
            tokens: tokens.transpose()?,
            throttles: Arc::new(Throttles::new(LOG_INTERVAL)),
            unreached: unreached(&connection.name),
            unheard: false,
        })
    }

    /// The same context about one topic, so that faults name it.
    pub fn about(&self, subject: Subject) -> Self {
        Context { subject, ..self.clone() }
    }

    /// The same context of a client whose troubles another client of the resource tells, too: it logs them for developers
    /// only.
    pub fn unheard(&self) -> Self {
        Context { unheard: true, ..self.clone() }
    }

    /// The health that this context feeds.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// What the client's faults are about.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    fn note(&self, code: Code, reason: &str, hung_up: bool) {
        let fault = || {
            let settled = self.health.has_worked();
            if settled { self.subject.code(code, reason) } else { self.subject.first_contact(code, reason) }
        };
        match code {
            Code::AllBrokersDown => self.health.all_down(fault()),
            Code::Fatal => self.health.client_failed(fault()),
            Code::BrokerTransportFailure
            | Code::Resolve
            | Code::SSL
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
            | Code::OperationTimedOut => match split_broker(reason) {
                Some((broker, _)) => self.health.broker_failed(broker, fault(), hung_up),
                None => self.health.client_failed(fault()),
            },
            // The rest concerns a topic or a group, and comes back with the request that met it.
            _ => {}
        }
    }

    fn say(&self, level: RDKafkaLogLevel, kind: &str, message: &str) {
        let client = &self.subject;
        // librdkafka warns of settings for consumers in producers; a KafkaConnection's properties serve both.
        let quiet = self.unheard
            || kind == "CONFWARN"
            || matches!(level, RDKafkaLogLevel::Debug)
            || kind == "GETPID" && is_getting_up(message);
        let (now, unreached) = (Instant::now(), is_unreached(message) || kind == DOWN);
        // A client that is not heard holds nobody's line back.
        let allowed = match quiet {
            true => None,
            false if unreached => self.unreached.allow(now),
            false => self.throttles.allow(message, now),
        };
        match allowed {
            Some(0) => tracing::warn!(target: "librdkafka", %client, kind, "{message}"),
            Some(held_back) => tracing::warn!(target: "librdkafka", %client, kind, held_back, "{message}"),
            None => tracing::debug!(target: "librdkafka", %client, kind, "{message}"),
        }
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, kind: &str, message: &str) {
        // `[thrd:host:port/1]: host:port/1: Disconnected (after 3 ms in state UP)`. A lost connection is no error to
        // librdkafka: the log alone tells of it.
        let text = without_guesses(message.split_once("]: ").map_or(message, |(_, text)| text));
        if kind == "FAIL" && level as i32 > RDKafkaLogLevel::Error as i32 {
            self.note(Code::BrokerTransportFailure, &text, true);
        }
        self.say(level, kind, &text);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        #[derive(Deserialize)]
        struct Statistics {
            brokers: HashMap<String, Broker>,
        }
        #[derive(Deserialize)]
        struct Broker {
            name: String,
            state: String,
        }
        // Only what we need: the whole has hundreds of numbers for each partition.
        match serde_json::from_slice::<Statistics>(statistics) {
            Ok(all) => self.health.statistics(all.brokers.values().map(|b| (b.name.as_str(), b.state.as_str()))),
            Err(e) => tracing::debug!(target: "librdkafka", "cannot read the statistics: {e}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is where every consumer that keeps up is.
        let is_normal = matches!(error, KafkaError::PartitionEOF(_))
            || matches!(error.rdkafka_error_code(), Some(Code::PartitionEOF | Code::NoError));
        if is_normal {
            return tracing::debug!(target: "librdkafka", client = %self.subject, "{error}: {reason}");
        }
        let reason = without_guesses(reason);
        if let Some(code) = error.rdkafka_error_code() {
            self.note(code, &reason, false);
        }
        match error.rdkafka_error_code() {
            // "0/2 brokers are down" counts a broker twice, or not at all: what is known of the way there says more.
            Some(Code::AllBrokersDown) => {
                if let Snapshot::Down(fault) = self.health.snapshot() {
                    self.say(RDKafkaLogLevel::Error, DOWN, &fault.message);
                }
            }
            // Whoever needs the topic says so, with what to do.
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => {
                self.say(RDKafkaLogLevel::Debug, "ERROR", &reason);
            }
            _ => self.say(RDKafkaLogLevel::Error, "ERROR", &reason),
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let tokens = self.tokens.as_ref().ok_or("spec.sasl.oauth is not set")?;
        // The error comes back through the error callback, as "Failed to acquire SASL OAUTHBEARER token: …".
        Ok(tokens.token()?)
    }
}

/// `host:port/id: what happened` → the broker's name and what happened.
fn split_broker(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once(": ")?;
    let plausible = name.contains('/') && !name.contains(' ') || name.ends_with("Coordinator");
    plausible.then_some((name, rest))
}

#[cfg(test)]
mod tests {
    use edgereel_crds::{KafkaConnectionSpec, name::ObjectName, status::Reason};

    use super::*;

    fn context() -> Context {
        context_of("lab")
    }

    fn context_of(name: &str) -> Context {
        let spec = KafkaConnectionSpec {
            allowed_namespaces: Default::default(),
            bootstrap_servers: vec!["a:9092".into()],
            tls: None,
            sasl: None,
            properties: Default::default(),
        };
        let name = ObjectName { namespace: "default".into(), name: name.into() };
        Context::new(&Connection { name, spec }, &Secrets::default()).expect("no login, nothing to go wrong")
    }

    fn reason(context: &Context) -> Option<Reason> {
        match context.health().snapshot() {
            Snapshot::Down(fault) => Some(fault.reason),
            _ => None,
        }
    }

    #[tokio::test]
    async fn a_lost_connection_is_known_from_the_log_alone_and_its_return_from_the_statistics() {
        let context = context();
        context.stats_raw(br#"{"brokers": {"a:9092/1": {"name": "a:9092/1", "state": "UP", "rtt": {"p99": 1}}}}"#);
        assert_eq!(context.health().snapshot(), Snapshot::Up);
        let line = "[thrd:a:9092/1]: a:9092/1: Disconnected: connection closed by peer (after 9000ms in state UP)";
        context.log(RDKafkaLogLevel::Info, "FAIL", line);
        assert_eq!(reason(&context), Some(Reason::KafkaUnreachable));
        context.stats_raw(br#"{"brokers": {"a:9092/1": {"name": "a:9092/1", "state": "UP"}}}"#);
        assert_eq!(context.health().wait_until(|now| *now == Snapshot::Up).await, Snapshot::Up);
        context.stats_raw(b"nonsense");
        assert_eq!(context.health().snapshot(), Snapshot::Up);
    }

    #[test]
    fn an_error_about_a_topic_does_not_make_the_brokers_unreachable() {
        let context = context();
        context.error(KafkaError::Global(Code::TopicAuthorizationFailed), "a:9092/1: not for you");
        assert_eq!(context.health().snapshot(), Snapshot::Connecting);
        context.error(KafkaError::Global(Code::Authentication), "a:9092/bootstrap: SASL authentication error");
        assert_eq!(reason(&context), Some(Reason::KafkaUnauthorized));
    }

    #[test]
    fn a_frozen_broker_is_not_called_old_in_the_status_or_in_the_log() {
        let context = context_of("frozen");
        let words = "a:9092/1: ApiVersionRequest failed: Local: Timed out: probably due to broker version < 0.10 (see \
                     api.version.request configuration) (after 10001ms in state APIVERSION_QUERY)";
        let said = warnings(|| {
            context.log(RDKafkaLogLevel::Error, "FAIL", &format!("[thrd:a:9092/1]: {words}"));
            context.error(KafkaError::Global(Code::BrokerTransportFailure), words);
        });
        let Snapshot::Down(fault) = context.health().snapshot() else { panic!("{:?}", context.health().snapshot()) };
        for text in [said.as_str(), &fault.message] {
            assert!(text.contains("took the connection") && !text.contains("0.10"), "{text}");
        }
    }

    #[test]
    fn a_message_is_split_from_the_broker_that_it_is_about() {
        for (text, broker) in [
            (
                "127.0.0.1:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: refused",
                Some("127.0.0.1:9092/bootstrap"),
            ),
            ("sasl_ssl://kafka.example:9093/2: SASL authentication error", Some("sasl_ssl://kafka.example:9093/2")),
            ("GroupCoordinator: 127.0.0.1:9092: Disconnected", Some("GroupCoordinator")),
            ("Failed to acquire SASL OAUTHBEARER token: token endpoint https://x/: no", None),
            ("1/1 brokers are down", None),
        ] {
            assert_eq!(split_broker(text).map(|(name, _)| name), broker, "{text}");
        }
    }

    /// The lines that were written at WARN or above while `work` ran.
    fn warnings(work: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);
        impl std::io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().expect("whole").extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, work);
        let bytes = lines.0.lock().expect("whole").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn the_end_of_a_partition_is_no_warning_and_no_fault() {
        let context = context();
        let said = warnings(|| {
            context.error(KafkaError::PartitionEOF(3), "the end");
            context.error(KafkaError::Global(Code::PartitionEOF), "Broker: No more messages");
        });
        assert_eq!((said.as_str(), context.health().snapshot()), ("", Snapshot::Connecting));
    }

    #[test]
    fn a_flood_of_one_message_hides_no_other_of_its_kind() {
        let context = context_of("flood");
        let lost = "[thrd:a:9092/1]: a:9092/1: Disconnected (after 12ms in state UP)";
        let refused = "[thrd:b:9092/2]: b:9092/2: SASL authentication error";
        let said = warnings(|| {
            (0..50).for_each(|_| context.log(RDKafkaLogLevel::Error, "FAIL", lost));
            context.log(RDKafkaLogLevel::Error, "FAIL", refused);
        });
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(said.contains("Disconnected") && said.contains("SASL"), "{said}");
    }

    #[test]
    fn a_broker_that_is_away_is_one_line_for_all_clients_of_its_connection() {
        let refused = |broker: &str| format!("{broker}: Connect to ipv4#10.0.0.1:9092 failed: Connection refused");
        let away = || {
            for client in [context_of("away"), context_of("away"), context_of("away")] {
                for broker in ["a:9092/bootstrap", "a:9092/1", "GroupCoordinator: a:9092"] {
                    client.log(RDKafkaLogLevel::Error, "FAIL", &format!("[thrd:x]: {}", refused(broker)));
                    client.error(KafkaError::Global(Code::BrokerTransportFailure), &refused(broker));
                }
                client.log(RDKafkaLogLevel::Info, "FAIL", "[thrd:x]: b:9092/2: Disconnected (after 3ms in state UP)");
                client.error(KafkaError::Global(Code::AllBrokersDown), "0/2 brokers are down");
            }
        };
        let said = warnings(away);
        assert_eq!(said.lines().count(), 1, "{said}");
        let other = warnings(|| {
            context_of("away").unheard().log(RDKafkaLogLevel::Error, "FAIL", "a:9092/1: Disconnected");
            context_of("elsewhere").error(KafkaError::Global(Code::AllBrokersDown), "2/2 brokers are down");
        });
        assert!(other.lines().count() == 1 && other.contains("no broker of [a:9092] answers"), "{other}");
    }

    #[test]
    fn a_new_cluster_and_a_topic_that_is_yet_to_be_made_are_no_warnings() {
        let context = context();
        let pid =
            |why: &str| format!("[thrd:main]: Failed to acquire idempotence PID from broker a:9092/1: {why}: retrying");
        let said = warnings(|| {
            for why in ["Broker: Coordinator load in progress", "Broker: Coordinator not available"] {
                context.log(RDKafkaLogLevel::Warning, "GETPID", &pid(why));
            }
            let missing = "Subscribed topic not available: gate: Broker: Unknown topic or partition";
            context.error(KafkaError::Global(Code::UnknownTopicOrPartition), missing);
        });
        assert_eq!(said, "");
        let denied = pid("Broker: Transactional Id authorization failed");
        let said = warnings(|| context.log(RDKafkaLogLevel::Warning, "GETPID", &denied));
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
