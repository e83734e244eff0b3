//! The outbox, step by step.

use bytes::Bytes;
use edgereel_crds::{name::ObjectName, units::ByteSize};
use edgereel_runtime::metrics::Metrics;
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::capture::metrics::CameraFamilies;

const PATIENCE: Duration = Duration::from_secs(30);

fn metrics() -> CameraMetrics {
    CameraFamilies::new(&mut Metrics::default()).of(&ObjectName { namespace: "lab".into(), name: "gate".into() })
}

fn with_overhead(memory: u64, when_full: WhenFull, overhead: usize) -> Outbox {
    let outbox = Outbox::new(&Buffer { memory: ByteSize(memory), when_full }, PATIENCE, overhead, metrics());
    outbox.open(20 << 10);
    outbox
}

fn outbox(memory: u64, when_full: WhenFull) -> Outbox {
    with_overhead(memory, when_full, 0)
}

fn frame(sequence: u64, bytes: usize) -> Frame {
    Frame { jpeg: Bytes::from(vec![0; bytes]), captured_at: Timestamp::UNIX_EPOCH, sequence }
}

fn push(outbox: &Outbox, sequence: u64, bytes: usize) -> u64 {
    outbox.push(frame(sequence, bytes), Instant::now())
}

fn taken(outbox: &Outbox) -> Vec<u64> {
    outbox.take().iter().map(|taken| taken.frame.sequence).collect()
}

#[test]
fn the_oldest_waiting_frame_goes_first_and_one_in_flight_never() {
    let outbox = outbox(100, WhenFull::DropOldest);
    assert_eq!(push(&outbox, 0, 50), 0);
    assert_eq!(taken(&outbox), [0]);
    assert_eq!((1..3).map(|i| push(&outbox, i, 25)).sum::<u64>(), 0);
    assert_eq!(push(&outbox, 3, 50), 2, "1 and 2 make room");
    assert_eq!(taken(&outbox), [0u64; 0], "half of the memory is in flight");
    assert!(outbox.landed(0, Ok(())));
    assert_eq!(taken(&outbox), [3]);
}

#[test]
fn drop_newest_keeps_what_waits() {
    let outbox = outbox(100, WhenFull::DropNewest);
    assert_eq!((0..5).map(|i| push(&outbox, i, 25)).sum::<u64>(), 1);
    assert_eq!(taken(&outbox), [0, 1]);
}

#[test]
fn keys_and_headers_count_and_one_picture_of_the_whole_memory_fits_with_them() {
    let outbox = with_overhead(100, WhenFull::DropNewest, 20);
    assert_eq!((0..3).map(|i| push(&outbox, i, 20)).sum::<u64>(), 1, "two of 40 bytes fit");
    assert_eq!((taken(&outbox), outbox.bytes_in_flight(), outbox.bytes()), (vec![0], 40, 80));
    let alone = with_overhead(100, WhenFull::DropNewest, 20);
    assert_eq!(push(&alone, 0, 100), 0);
    assert_eq!(push(&alone, 1, 1), 1);
}

#[test]
fn frames_that_were_put_back_keep_their_places() {
    let outbox = outbox(100, WhenFull::DropOldest);
    assert_eq!((0..3).map(|i| push(&outbox, i, 10)).sum::<u64>(), 0);
    let mut all = outbox.take().into_iter();
    assert_eq!(all.next().map(|sent| sent.frame.sequence), Some(0));
    outbox.put_back(all);
    assert_eq!(outbox.bytes_in_flight(), 10);
    assert_eq!(taken(&outbox), [1, 2]);
    assert_eq!(outbox.bytes(), 30);
}

#[test]
fn what_does_not_fit_into_the_window_waits_until_nothing_flies_and_then_goes_as_one_batch() {
    let outbox = outbox(1 << 20, WhenFull::DropOldest);
    for sequence in 0..5 {
        assert_eq!(push(&outbox, sequence, 100), 0);
        assert_eq!(taken(&outbox), [sequence]);
    }
    assert_eq!((5..30).map(|sequence| push(&outbox, sequence, 100)).sum::<u64>(), 0);
    for sequence in 0..5 {
        assert_eq!(taken(&outbox), [0u64; 0]);
        outbox.landed(sequence, Ok(()));
    }
    assert_eq!(taken(&outbox), Vec::from_iter(5..23), "18 of 1124 bytes each");
    (5..22).for_each(|sequence| assert!(outbox.landed(sequence, Ok(()))));
    assert_eq!(taken(&outbox), [0u64; 0]);
    outbox.landed(22, Ok(()));
    assert_eq!(taken(&outbox), Vec::from_iter(23..30));
}

#[test]
fn five_frames_that_are_larger_than_a_batch_fly_at_once() {
    let outbox = outbox(1 << 20, WhenFull::DropOldest);
    assert_eq!((0..7).map(|sequence| push(&outbox, sequence, 50_000)).sum::<u64>(), 0);
    assert_eq!(taken(&outbox), Vec::from_iter(0..5));
}

#[test]
fn a_frame_that_has_waited_for_the_delivery_timeout_is_given_up_even_if_it_was_put_back() {
    let (outbox, start) = (outbox(1000, WhenFull::DropOldest), Instant::now());
    for second in 0..3 {
        assert_eq!(outbox.push(frame(second, 10), start + Duration::from_secs(second)), 0);
    }
    outbox.put_back(outbox.take().into_iter());
    assert_eq!(outbox.expire(start + PATIENCE - Duration::from_millis(1)), 0);
    assert_eq!(outbox.expire(start + PATIENCE + Duration::from_secs(1)), 2);
    assert_eq!((taken(&outbox), outbox.bytes()), (vec![2], 10));
}

#[test]
fn what_waits_when_a_run_ends_is_there_for_the_next_and_late_reports_of_the_last_count_once() {
    let outbox = outbox(1000, WhenFull::DropOldest);
    assert_eq!((0..8).map(|i| push(&outbox, i, 10)).sum::<u64>(), 0);
    assert_eq!(taken(&outbox), Vec::from_iter(0..8));
    outbox.close();
    assert!(outbox.landed(0, Ok(())));
    outbox.open(20 << 10);
    assert_eq!(push(&outbox, 8, 10), 0);
    assert_eq!(taken(&outbox), [0u64; 0], "the last producer still holds seven");
    for number in 0..8 {
        assert_eq!(outbox.landed(number, Err(DropReason::delivery_failed)), number > 0);
    }
    assert_eq!(taken(&outbox), [8]);
    let account = outbox.metrics.account();
    assert_eq!((account.captured, account.acknowledged, account.waiting), (9, 1, 1));
    assert_eq!(account.dropped, BTreeMap::from([("delivery_failed", 7)]));
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    Take,
    PutBack,
    Acknowledge(usize),
    Fail(usize),
    Again(usize),
    Expire,
    Restart,
    Discard,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1usize..120).prop_map(Step::Push),
        3 => Just(Step::Take),
        1 => Just(Step::PutBack),
        3 => any::<usize>().prop_map(Step::Acknowledge),
        2 => any::<usize>().prop_map(Step::Fail),
        1 => any::<usize>().prop_map(Step::Again),
        1 => Just(Step::Expire),
        1 => Just(Step::Restart),
        1 => Just(Step::Discard),
    ]
}

proptest! {
    #[test]
    fn memory_stays_within_its_bound_and_every_frame_has_one_fate_whatever_happens_to_its_producer(
        steps in prop::collection::vec(step(), 1..300), oldest in any::<bool>(), overhead in 0usize..30,
    ) {
        let outbox = with_overhead(100, if oldest { WhenFull::DropOldest } else { WhenFull::DropNewest }, overhead);
        let (mut pushed, mut dropped, mut acknowledged) = (0u64, 0u64, 0u64);
        let mut flying: Vec<Taken> = vec![];
        let mut landed: Vec<u64> = vec![];
        let (start, mut minutes) = (Instant::now(), 0);
        for step in steps {
            let now = start + Duration::from_secs(60 * minutes);
            match step {
                Step::Push(bytes) => {
                    dropped += outbox.push(frame(outbox.number(), bytes), now);
                    pushed += 1;
                }
                Step::Take => flying.extend(outbox.take()),
                Step::PutBack => outbox.put_back(flying.pop().into_iter()),
                Step::Acknowledge(any) if !flying.is_empty() => {
                    landed.push(flying.remove(any % flying.len()).frame.sequence);
                    prop_assert!(outbox.landed(landed[landed.len() - 1], Ok(())));
                    acknowledged += 1;
                }
                Step::Fail(any) if !flying.is_empty() => {
                    landed.push(flying.remove(any % flying.len()).frame.sequence);
                    prop_assert!(outbox.landed(landed[landed.len() - 1], Err(DropReason::delivery_failed)));
                    dropped += 1;
                }
                Step::Again(any) if !landed.is_empty() => {
                    prop_assert!(!outbox.landed(landed[any % landed.len()], Ok(())));
                }
                Step::Expire => { minutes += 1; dropped += outbox.expire(now + Duration::from_secs(60)); }
                Step::Restart => { outbox.close(); outbox.open(20 << 10); }
                Step::Discard => dropped += outbox.discard(),
                _ => {}
            }
            prop_assert!(outbox.bytes() <= 100 + overhead);
            prop_assert_eq!(outbox.metrics.buffer_bytes.get(), outbox.bytes() as i64);
            let account = outbox.metrics.account();
            let (waits, flies) = { let inner = outbox.lock(); (inner.waiting.len(), inner.flying.len()) };
            prop_assert_eq!(account.waiting, (waits + flies) as u64);
            prop_assert_eq!(flies, flying.len());
            prop_assert_eq!(
                (account.captured, account.acknowledged, account.dropped_total()), (pushed, acknowledged, dropped),
            );
            prop_assert_eq!(pushed, acknowledged + dropped + account.waiting);
        }
    }
}
