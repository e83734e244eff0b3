//! The merge under stalls, skew and jitter, with a clock that is an argument.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

const WINDOW: u64 = 250;
const NONE: [u64; 0] = [];
const YEAR_2100: i64 = 2_402_444_800_000;

fn partition(n: usize) -> TopicPartition {
    TopicPartition { topic: "frames".into(), partition: n as i32 }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + ms).expect("in range")
}

/// A record that went out: its number, when, and where it stands.
#[derive(Clone, Copy, Debug)]
struct Out {
    n: u64,
    at: u64,
    standing: Standing,
}

struct Bench {
    merge: Merge<u64>,
    start: Instant,
    out: Vec<Out>,
    /// How many were drained.
    seen: usize,
    now: u64,
}

impl Bench {
    fn new(partitions: usize) -> Self {
        let start = Instant::now();
        let window = Duration::from_millis(WINDOW);
        Bench {
            merge: Merge::new((0..partitions).map(partition), window, start),
            start,
            out: Vec::new(),
            seen: 0,
            now: 0,
        }
    }

    fn instant(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// Takes what goes out up to this time, as one does who has nothing else to do.
    fn run(&mut self, until: u64) {
        for ms in self.now..=until {
            self.take(ms);
        }
    }

    /// Takes what goes out at this time.
    fn take(&mut self, ms: u64) {
        self.now = ms;
        while let Next::Record { what, standing } = self.merge.pop(self.instant(ms)) {
            self.out.push(Out { n: what, at: ms, standing });
        }
    }

    /// What went out up to this time, since it was asked last.
    fn drain(&mut self, ms: u64) -> Vec<u64> {
        self.run(ms);
        self.new_ones()
    }

    fn new_ones(&mut self) -> Vec<u64> {
        let new = self.out[self.seen..].iter().map(|out| out.n).collect();
        self.seen = self.out.len();
        new
    }

    fn push(&mut self, lane: usize, n: u64, captured: i64, keyed: bool, now: u64) {
        if now > self.now {
            self.run(now);
        }
        let item = Item { time: at(captured), keyed, what: n };
        assert!(self.merge.push(&partition(lane), item, self.instant(now)));
    }

    fn end(&mut self, lane: usize, now: u64) {
        self.merge.end(&partition(lane), self.instant(now));
    }

    fn numbers(&self) -> Vec<u64> {
        self.out.iter().map(|out| out.n).collect()
    }
}

/// A record of a live topic.
#[derive(Clone, Copy, Debug)]
struct Sent {
    lane: usize,
    /// On the camera's clock.
    captured: i64,
    keyed: bool,
    arrives: u64,
}

/// Plays a live topic, millisecond by millisecond: records come when they come, each followed by its partition's end, as
/// the consumer tells it; once a second, partitions that are not stalled are known to be at their end.
fn play(lanes: usize, records: &[Sent], stalled: impl Fn(usize, u64) -> bool) -> Bench {
    let mut bench = Bench::new(lanes);
    let mut coming: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (n, record) in records.iter().enumerate() {
        coming.entry(record.arrives).or_default().push(n);
    }
    let last = coming.keys().max().copied().unwrap_or_default();
    for now in 0..=last + 12_000 {
        for n in coming.remove(&now).unwrap_or_default() {
            let Sent { lane, captured, keyed, .. } = records[n];
            bench.push(lane, n as u64, captured, keyed, now);
            bench.end(lane, now);
        }
        if now % 1000 == 0 {
            (0..lanes).filter(|lane| !stalled(*lane, now)).for_each(|lane| bench.end(lane, now));
        }
        bench.drain(now);
    }
    bench
}

/// A camera of 30 frames a second, its records spread over three partitions in turn, 10 ms on their way.
fn camera(frames: u64) -> Vec<Sent> {
    let sent = |n: u64| Sent {
        lane: (n % 3) as usize,
        captured: (n * 100 / 3) as i64,
        keyed: false,
        arrives: 1000 + n * 100 / 3 + 10,
    };
    (0..frames).map(sent).collect()
}

fn assert_in_order(bench: &Bench, frames: usize) {
    assert_eq!(bench.numbers(), (0..frames as u64).collect::<Vec<_>>());
    let odd: Vec<_> = bench.out.iter().filter(|out| out.standing.late || out.standing.far).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[test]
fn a_backlog_comes_out_in_capture_order_though_one_partition_is_fetched_before_the_other() {
    let mut bench = Bench::new(2);
    for n in [0, 2, 4] {
        bench.push(0, n, n as i64 * 500, false, 0);
    }
    assert_eq!(bench.drain(5), NONE, "the other partition may hold older ones");
    for n in [1, 3] {
        bench.push(1, n, n as i64 * 500, false, 400);
    }
    assert_eq!(bench.drain(700), [0, 1, 2, 3]);
    assert_eq!(bench.drain(5000), NONE, "the other was not read to its end");
    bench.end(1, 5000);
    assert_eq!(bench.drain(5000), [4]);
}

#[test]
fn a_live_record_without_a_key_waits_for_its_elders_and_no_longer() {
    let mut bench = Bench::new(2);
    bench.push(0, 0, 0, false, 0);
    bench.end(0, 0);
    bench.end(1, 0);
    assert_eq!(bench.drain(WINDOW), [0]);
    bench.push(0, 2, 1030, false, 1031);
    assert_eq!(bench.drain(1040), NONE);
    bench.push(1, 1, 1020, false, 1041);
    bench.end(1, 1041);
    assert_eq!(bench.drain(1041), [1], "with both heads there the order is certain");
    assert_eq!(bench.drain(1280), NONE);
    assert_eq!(bench.drain(1281), [2]);
    bench.push(1, 3, 1025, false, 1290);
    assert_eq!(bench.drain(1290), [3], "too late for its place: at once, and counted");
    let standing = bench.out[3].standing;
    assert!(standing.late && standing.behind && standing.time == at(1030), "{standing:?}");
}

#[test]
fn a_record_with_a_key_waits_for_nobody_at_the_end() {
    let mut bench = Bench::new(3);
    (0..3).for_each(|n| bench.end(n, 0));
    bench.push(1, 0, 0, true, 10);
    bench.drain(300);
    for n in 1..9 {
        bench.push(1, n, n as i64 * 1000, true, n * 1000);
        assert_eq!(bench.drain(n * 1000), [n]);
        bench.end(1, n * 1000);
    }
}

#[test]
fn a_partition_whose_leader_is_away_holds_up_the_rest_for_ten_seconds_only() {
    let mut bench = Bench::new(2);
    bench.push(0, 0, 10, true, 10);
    assert_eq!(bench.drain(9_999), NONE);
    assert_eq!(bench.drain(10_000), [0]);
}

#[test]
fn a_foreign_partition_is_refused() {
    let mut bench = Bench::new(1);
    let item = Item { time: at(0), keyed: true, what: 0 };
    assert!(!bench.merge.push(&partition(7), item, bench.start));
}

#[test]
fn a_stall_of_eight_seconds_changes_nothing_in_the_order() {
    let mut records = camera(600);
    let stalled = |lane: usize, now: u64| lane == 1 && (6000..14_000).contains(&now);
    for record in &mut records {
        if stalled(record.lane, record.arrives) {
            record.arrives = 14_000;
        }
    }
    assert_in_order(&play(3, &records, stalled), records.len());
}

#[test]
fn a_stall_beyond_patience_holds_nothing_up_for_ever_and_loses_nothing() {
    let mut records = camera(900);
    let stalled = |lane: usize, now: u64| lane == 1 && (6000..24_000).contains(&now);
    for record in &mut records {
        if stalled(record.lane, record.arrives) {
            record.arrives = 24_000;
        }
    }
    let bench = play(3, &records, stalled);
    assert_eq!(bench.out.len(), records.len());
    let live = bench.out.iter().filter(|out| (18_000..23_000).contains(&records[out.n as usize].arrives));
    assert!(live.clone().count() > 90);
    for out in live {
        assert!(out.at <= records[out.n as usize].arrives + WINDOW, "a partition that is away is given up: {out:?}");
    }
    let late = bench.out.iter().filter(|out| out.standing.late).count();
    let came = records.iter().filter(|record| record.arrives == 24_000).count();
    assert!(late > 0 && late <= came, "{late} of {came}");
}

#[test]
fn in_live_use_a_frame_waits_for_about_the_window() {
    let records = camera(600);
    let bench = play(3, &records, |_, _| false);
    assert_in_order(&bench, records.len());
    // The first have to be vouched for, and the last wait for the next look at the partitions' ends: nobody says that the
    // camera was switched off.
    let longest = bench.out[10..590].iter().map(|out| out.at - records[out.n as usize].arrives).max();
    assert!(longest <= Some(WINDOW), "{longest:?}");
}

#[test]
fn a_camera_whose_clock_is_hours_wrong_is_merged_like_any_other() {
    // By the clock on the wall, or by the other camera's, all its frames are old.
    let mut records = camera(300);
    records.iter_mut().for_each(|record| record.captured -= 7_200_000);
    // Each frame overtaken by the next, within the window.
    records.iter_mut().step_by(2).for_each(|record| record.arrives += 60);
    assert_in_order(&play(3, &records, |_, _| false), 300);
}

#[test]
fn two_cameras_whose_clocks_are_seconds_apart_keep_about_their_order_each() {
    let mut rng = 7u64;
    let mut random = |below: u64| {
        rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (rng >> 33) % below
    };
    let records: Vec<Sent> = (0..600u64)
        .map(|n| Sent {
            lane: random(3) as usize,
            captured: n as i64 * 17 + if n % 2 == 0 { 0 } else { 5000 },
            keyed: false,
            arrives: 1000 + n * 17 + random(20),
        })
        .collect();
    let bench = play(3, &records, |_, _| false);
    for camera in 0..2 {
        let of: Vec<_> = bench.numbers().into_iter().filter(|n| n % 2 == camera).collect();
        let mut sorted = of.clone();
        sorted.sort_unstable();
        let place = |n: &u64| sorted.partition_point(|other| other < n);
        let furthest = of.iter().enumerate().skip(50).map(|(at, n)| at.abs_diff(place(n))).max();
        // What a partition gets of one camera in about two of its intervals.
        assert!(furthest <= Some(6), "camera {camera}: {furthest:?}");
        assert_eq!(of.len(), 300);
    }
    assert!(bench.out.iter().all(|out| out.at <= records[out.n as usize].arrives + 1000));
}

#[test]
fn one_time_in_the_future_holds_up_no_partition() {
    for stray in [YEAR_2100, -1_700_000_000_000, 3_600_000, -3_600_000] {
        let mut records = camera(300);
        records[100].captured = stray;
        let bench = play(3, &records, |_, _| false);
        let odd: Vec<_> = bench.out.iter().filter(|out| out.standing.far).map(|out| out.n).collect();
        assert_eq!(odd, [100]);
        let mut others = bench.numbers();
        others.retain(|n| *n != 100);
        assert!(others.is_sorted() && others.len() == 299);
        let place = bench.out.iter().position(|out| out.n == 100).expect("it went out");
        assert!((90..110).contains(&place), "{place}");
        assert!(bench.out[..290].iter().all(|out| out.at <= records[out.n as usize].arrives + 2 * WINDOW));
        assert!(bench.out.iter().all(|out| out.standing.time <= at(10_000)), "nothing is put into that time");
    }
}

#[test]
fn a_clock_that_is_put_back_is_followed_in_all_partitions_alike() {
    for back in [2_000, 3_600_000] {
        let mut records = camera(600);
        records[300..].iter_mut().for_each(|record| record.captured -= back);
        let bench = play(3, &records, |_, _| false);
        assert_eq!(bench.out.len(), 600);
        let disorder = bench.numbers().windows(2).filter(|w| w[0] > w[1]).count();
        assert!(disorder <= 2, "{disorder} at the leap");
        let tail: Vec<_> = bench.numbers().into_iter().filter(|n| *n > 310).collect();
        assert!(tail.is_sorted(), "{back}");
        assert!(bench.out.windows(2).all(|w| w[0].standing.time <= w[1].standing.time));
        let waiting = bench.merge.oldest();
        assert_eq!(waiting, None);
    }
}

#[test]
fn who_was_busy_takes_in_what_came_before_he_lets_anything_go() {
    let mut bench = play(3, &camera(300), |_, _| false);
    let now = 40_000;
    (0..3).for_each(|lane| bench.end(lane, now - 1));
    bench.new_ones();
    bench.push(0, 1000, 39_020, false, now);
    bench.end(0, now);
    assert_eq!(bench.drain(now + 10), NONE);
    // He writes for two seconds; an older record came long before he is back.
    bench.take(now + 2000);
    assert_eq!(bench.new_ones(), NONE);
    bench.push(1, 999, 39_000, false, now + 2001);
    bench.end(1, now + 2001);
    assert_eq!(bench.drain(now + 2300), [999, 1000]);
}

proptest! {
    /// Whatever comes in which order at what time: each record goes out once, each partition keeps its order, nothing is
    /// stuck, and time never goes back.
    #[test]
    fn every_record_comes_out_once_and_in_the_order_of_its_partition(
        steps in prop::collection::vec(
            (0usize..3, prop_oneof![-2_000_000i64..2_000_000, 0i64..500], any::<bool>(), 0u64..400, any::<bool>()), 0..80,
        ),
    ) {
        let mut bench = Bench::new(3);
        let mut now = 0;
        let mut put: Vec<Vec<u64>> = vec![Vec::new(); 3];
        for (n, (lane, ms, keyed, pause, end)) in steps.iter().enumerate() {
            now += pause;
            bench.push(*lane, n as u64, *ms, *keyed, now);
            put[*lane].push(n as u64);
            if *end {
                bench.end(*lane, now);
            }
            bench.drain(now);
        }
        // As a caller comes back: when he was told to.
        bench.run(now + 60_000);
        prop_assert!(bench.merge.is_empty(), "stuck");
        prop_assert_eq!(bench.out.len(), steps.len());
        prop_assert!(bench.out.windows(2).all(|w| w[0].standing.time <= w[1].standing.time));
        for lane in put {
            let kept: Vec<u64> = bench.numbers().into_iter().filter(|n| lane.contains(n)).collect();
            prop_assert_eq!(kept, lane);
        }
    }

    /// However a backlog is fetched: sorted partitions come out sorted.
    #[test]
    fn a_sorted_backlog_comes_out_sorted(
        records in prop::collection::vec((0usize..3, 1i64..100), 1..100), order in prop::collection::vec(0usize..3, 0..300),
    ) {
        let mut lanes: Vec<VecDeque<(u64, i64)>> = vec![VecDeque::new(); 3];
        let mut time = 0;
        for (n, (lane, step)) in records.iter().enumerate() {
            time += step;
            lanes[*lane].push_back((n as u64, time));
        }
        let mut bench = Bench::new(3);
        let mut now = 0;
        for lane in order.into_iter().chain((0..300).map(|i| i % 3)) {
            now += 1;
            match lanes[lane].pop_front() {
                Some((n, ms)) => bench.push(lane, n, ms, false, now),
                None => bench.end(lane, now),
            }
            bench.drain(now);
        }
        bench.run(now + 1000);
        prop_assert_eq!(bench.numbers(), (0..records.len() as u64).collect::<Vec<_>>());
        prop_assert!(bench.out.iter().all(|out| !out.standing.late));
    }

    /// Live: in order as long as ways differ by less than the window, whichever partition each record takes; and no frame
    /// waits for more than about the window. Though a partition stalls: only what it should have given in the first
    /// moments may be late, while its silence could still be its habit.
    #[test]
    fn live_frames_are_in_order_within_the_window_and_under_stalls(
        ways in prop::collection::vec(0u64..WINDOW / 2, 300),
        stall in prop::option::of((0usize..3, 3000u64..8000, 500u64..9000)),
    ) {
        let mut records = camera(300);
        let stalled = |lane: usize, now: u64| {
            stall.is_some_and(|(of, from, long)| lane == of && (from..from + long).contains(&now))
        };
        let mut latest = [0; 3];
        let mut excused = Vec::new();
        for (n, (record, way)) in records.iter_mut().zip(ways).enumerate() {
            record.arrives += way;
            if let Some((_, from, long)) = stall.filter(|_| stalled(record.lane, record.arrives)) {
                if record.arrives < from + 2 * WINDOW {
                    excused.push(n as u64);
                }
                record.arrives = from + long;
            }
            record.arrives = record.arrives.max(latest[record.lane]);
            latest[record.lane] = record.arrives;
        }
        let bench = play(3, &records, stalled);
        let (of_the_first_moments, out): (Vec<Out>, Vec<Out>) =
            bench.out.iter().copied().partition(|out| excused.contains(&out.n));
        let numbers: Vec<_> = out.iter().map(|out| out.n).collect();
        prop_assert_eq!(numbers, (0..300).filter(|n| !excused.contains(n)).collect::<Vec<_>>());
        prop_assert!(out.iter().all(|out| !out.standing.late && !out.standing.far));
        prop_assert_eq!(of_the_first_moments.len(), excused.len());
        prop_assert!(of_the_first_moments.iter().all(|out| !out.standing.far));
        if stall.is_none() {
            let longest = bench.out[..290].iter().map(|out| out.at - records[out.n as usize].arrives).max();
            prop_assert!(longest <= Some(2 * WINDOW), "{:?}", longest);
        }
    }
}
