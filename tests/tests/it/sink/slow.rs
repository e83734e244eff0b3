//! Brokers that take long to say where partitions stand.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use edgereel_tests::{
    free_ports,
    kafka::{Cluster, Options},
    wait,
};
use serde_json::json;

use super::bench::{Bench, KEEP, PATIENCE, frames};

/// Kafka's number of the request ListOffsets.
const LIST_OFFSETS: u16 = 2;

/// A way to a broker on which some requests are held up. A mock of a slow broker: a real one cannot be made slow in this
/// alone.
#[derive(Clone, Default)]
struct Way {
    slow: Arc<AtomicBool>,
    held: Arc<AtomicU64>,
}

impl Way {
    /// Listens on a port, and passes on to another, until the test's process ends.
    fn open(&self, from: u16, to: u16) {
        let listener = TcpListener::bind(("127.0.0.1", from)).expect("a free port");
        let way = self.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(broker) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let answers = (broker.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
                thread::spawn(move || io::copy(&mut &answers.0, &mut &answers.1));
                let way = way.clone();
                thread::spawn(move || way.requests(client, broker));
            }
        });
    }

    fn requests(&self, mut client: TcpStream, mut broker: TcpStream) -> io::Result<()> {
        loop {
            let mut head = [0; 6];
            client.read_exact(&mut head)?;
            let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as u64;
            if u16::from_be_bytes([head[4], head[5]]) == LIST_OFFSETS && self.slow.load(Ordering::SeqCst) {
                self.held.fetch_add(1, Ordering::SeqCst);
                // Longer than a lease lasts without a poll.
                thread::sleep(Duration::from_secs(9));
            }
            broker.write_all(&head)?;
            io::copy(&mut (&client).take(length - 2), &mut broker)?;
        }
    }
}

#[test]
fn a_broker_that_takes_long_to_say_where_partitions_stand_costs_no_assignment() {
    let way = Way::default();
    let port = free_ports(&[0]);
    let settings = vec![format!("advertised.listeners=CLIENT://127.0.0.1:{port}")];
    let options = Options { settings, ..Options::default() };
    let kafka: &'static Cluster = Box::leak(Box::new(Cluster::start(1, options).expect("a broker")));
    let broker = kafka.bootstrap().rsplit(':').next().and_then(|port| port.parse().ok()).expect("its port");
    way.open(port, broker);
    let mut bench = Bench::without_topic(&edgereel_tests::unique("slow"), json!({}));
    bench.kafka = kafka;
    kafka.create_topic(&bench.topic, 12, KEEP);
    kafka.produce(&bench.topic, frames(0..120, 12, 1_000));
    way.slow.store(true, Ordering::SeqCst);
    let worker = bench.start(0);
    wait::until_ok("it says what it waits for", PATIENCE, || {
        let says = worker.says();
        if says.contains("taking up 12 partitions") { Ok(()) } else { Err(says) }
    });
    assert!(!worker.state.is_ready());
    wait::until("it was asked", PATIENCE, || way.held.load(Ordering::SeqCst) > 0);
    worker.await_ready();
    way.slow.store(false, Ordering::SeqCst);
    bench.await_no_lag();
    assert_eq!(worker.metrics.rebalances.get(), 1);
    let held = way.held.load(Ordering::SeqCst);
    assert!(held <= 4, "{held} requests for twelve partitions");
    worker.stop().expect("a clean stop");
    bench.assert_complete();
    kafka.stop(0);
}
