//! Keeps a token at hand, fetched ahead on a thread of its own: a client's thread never waits for an identity provider.
//!
//! All clients with the same login share a keeper. It lives for as long as one of them does, and then until its token
//! would have been renewed.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use edgereel_runtime::backoff::Backoff;
use jiff::Timestamp;
use rdkafka::client::OAuthToken;

use super::TokenSource;

/// The first wait after a failure, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The part of its life after which a token is renewed, at the earliest and at the latest. Clients ask for another after
/// 80 % of it.
const RENEW: (f64, f64) = (0.65, 0.75);
/// Tokens are not fetched more often.
const SHORTEST: Duration = Duration::from_secs(1);

/// All keepers of this process.
static KEEPERS: Mutex<Vec<Weak<Keeper>>> = Mutex::new(Vec::new());

/// A login's token.
pub struct Keeper {
    source: TokenSource,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    token: Option<OAuthToken>,
    /// What the last attempt met, if it failed.
    failure: Option<String>,
    /// Attempts that have ended.
    attempts: u64,
    /// Somebody waits: do not rest.
    wanted: bool,
}

impl Inner {
    fn valid(&self) -> Option<OAuthToken> {
        let now = Timestamp::now().as_millisecond();
        self.token.as_ref().filter(|token| token.lifetime_ms > now).map(copy)
    }
}

fn copy(token: &OAuthToken) -> OAuthToken {
    let OAuthToken { token, principal_name, lifetime_ms } = token;
    OAuthToken { token: token.clone(), principal_name: principal_name.clone(), lifetime_ms: *lifetime_ms }
}

impl Keeper {
    /// The keeper of this login: the one that there is, or a new one that begins to fetch.
    pub fn of(source: TokenSource) -> io::Result<Arc<Self>> {
        let mut keepers = KEEPERS.lock().unwrap_or_else(PoisonError::into_inner);
        keepers.retain(|keeper| keeper.strong_count() > 0);
        if let Some(keeper) = keepers.iter().filter_map(Weak::upgrade).find(|keeper| keeper.source == source) {
            return Ok(keeper);
        }
        let keeper = Arc::new(Keeper { source, inner: Mutex::default(), changed: Condvar::new() });
        let own = keeper.clone();
        thread::Builder::new().name("oauth token".into()).spawn(move || keep(&own))?;
        keepers.push(Arc::downgrade(&keeper));
        Ok(keeper)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token that there is, at once; or why there is none.
    pub fn token(&self) -> Result<OAuthToken, String> {
        let mut inner = self.lock();
        inner.valid().ok_or_else(|| {
            inner.wanted = true;
            self.changed.notify_all();
            let waiting = || format!("token endpoint {}: it has not answered yet", self.source.shown());
            inner.failure.clone().unwrap_or_else(waiting)
        })
    }

    /// Waits until there is a token, an attempt fails, or `patience` is over. Blocks.
    pub fn wait(&self, patience: Duration) -> Result<(), String> {
        let before = {
            let mut inner = self.lock();
            inner.wanted = inner.valid().is_none();
            self.changed.notify_all();
            inner.attempts
        };
        let undecided = |inner: &mut Inner| inner.valid().is_none() && inner.attempts == before;
        drop(self.changed.wait_timeout_while(self.lock(), patience, undecided));
        self.token().map(drop)
    }

    /// Takes in an attempt's outcome and says how long to rest.
    fn note(&self, outcome: Result<OAuthToken, String>, took: Duration, backoff: &mut Backoff) -> Duration {
        let mut inner = self.lock();
        inner.attempts += 1;
        inner.wanted = false;
        let rest = match outcome {
            Ok(token) => {
                let life = token.lifetime_ms.saturating_sub(Timestamp::now().as_millisecond());
                inner.token = Some(token);
                inner.failure = None;
                backoff.reset();
                renewal(Duration::from_millis(life.try_into().unwrap_or(0)), took, rand::random())
            }
            Err(failure) => {
                tracing::warn!(has_token = inner.valid().is_some(), "no new token to log in to Kafka with: {failure}");
                inner.failure = Some(failure);
                backoff.next(&mut rand::rng())
            }
        };
        self.changed.notify_all();
        rest
    }

    /// Waits until it is time for another attempt.
    fn rest(&self, time: Duration) {
        drop(self.changed.wait_timeout_while(self.lock(), time, |inner| !inner.wanted));
    }
}

/// When to ask for the next token, if one that lives for `life` took so long to come. `jitter`, from 0 to 1, spreads the
/// workers' requests.
fn renewal(life: Duration, took: Duration, jitter: f64) -> Duration {
    life.mul_f64(RENEW.0 + (RENEW.1 - RENEW.0) * jitter).saturating_sub(took).max(SHORTEST)
}

fn keep(keeper: &Arc<Keeper>) {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    loop {
        let began = Instant::now();
        let outcome = keeper.source.fetch();
        keeper.rest(keeper.note(outcome, began.elapsed(), &mut backoff));
        // Under the lock nobody else can take it up meanwhile.
        let _keepers = KEEPERS.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::strong_count(keeper) == 1 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        sync::mpsc,
    };

    use proptest::prelude::*;

    use super::*;

    /// An endpoint that answers each request when it is told to, and tells of each that comes.
    fn endpoint(lifetime: u32) -> (TokenSource, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/token", listener.local_addr().expect("bound"));
        let ((came, comes), (go, may_go)) = (mpsc::channel(), mpsc::channel::<()>());
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.expect("a connection");
                let _ = stream.read(&mut [0; 4096]).expect("a request");
                if came.send(()).is_err() || may_go.recv().is_err() {
                    return;
                }
                let body = format!(r#"{{"access_token": "t{number}", "expires_in": {lifetime}}}"#);
                let length = body.len();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                stream.write_all((head + &body).as_bytes()).expect("answered");
            }
        });
        (TokenSource::for_test(&url, "edge", "s3cret"), comes, go)
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn the_first_token_is_waited_for_later_ones_are_fetched_ahead_and_nobody_is_held_up_meanwhile() {
        let (source, comes, go) = endpoint(3);
        let keeper = Keeper::of(source.clone()).expect("a thread");
        comes.recv_timeout(PATIENCE).expect("it asks");
        assert!(keeper.token().err().expect("none yet").contains("has not answered yet"));
        assert!(keeper.wait(Duration::from_millis(1)).is_err(), "a wait has its end");
        go.send(()).expect("it waits");
        keeper.wait(PATIENCE).expect("the first token");
        assert_eq!(keeper.token().expect("at hand").token, "t0");
        let other = Keeper::of(source).expect("the same");
        assert!(Arc::ptr_eq(&keeper, &other), "one login, one keeper");
        comes.recv_timeout(PATIENCE).expect("it renews ahead of the end");
        assert_eq!(other.token().expect("still valid while the endpoint thinks").token, "t0");
        go.send(()).expect("it waits");
        comes.recv_timeout(PATIENCE).expect("and again");
        assert_eq!(other.token().expect("the next one").token, "t1");
    }

    #[test]
    fn a_failure_is_told_to_those_who_wait_and_what_nobody_uses_ends() {
        let unheard = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        let keeper = Keeper::of(TokenSource::for_test(&format!("http://{unheard}/token"), "edge", "s3cret"));
        let keeper = keeper.expect("a thread");
        let failure = keeper.wait(PATIENCE).expect_err("nobody listens");
        assert!(failure.contains("/token") && failure.contains("refused"), "{failure}");
        let gone = Arc::downgrade(&keeper);
        drop(keeper);
        let start = Instant::now();
        while gone.strong_count() > 0 {
            assert!(start.elapsed() < PATIENCE, "its thread goes on");
            thread::yield_now();
        }
    }

    proptest! {
        #[test]
        fn a_token_is_renewed_before_clients_ask_for_the_next(life in 5u64..100_000, took in 0.0..0.5f64, jitter in 0.0..1.0f64) {
            let (life, took) = (Duration::from_secs(life), Duration::from_secs(life).mul_f64(took));
            prop_assert!(renewal(life, took, jitter) + took <= life.mul_f64(0.8));
        }
    }
}
