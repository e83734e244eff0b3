//! A crash at any byte loses no frame and doubles none: random runs, cut off after every number of bytes, with or without
//! a power cut that takes what was not durable.

use std::{
    fs,
    io::Cursor,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
};

use edgereel_crds::{
    frame_sink::{Codec, Segment as SegmentSpec, Video as Spec, VideoRate},
    units::{ByteSize, Duration},
};
use proptest::prelude::*;

use super::{tests::*, *};
use crate::sink::disk::faults::CrashAfter;

/// Small RIFFs and few places, so that a short run meets every border.
const SMALL: Limits = Limits { riff_bytes: 3000, riff_frames: 12, riffs: 5 };

#[derive(Clone, Debug)]
enum Step {
    /// A frame of so many bytes, so many milliseconds after the one before, of one of two sizes.
    Frame(u16, u32, bool),
    /// Flush and commit.
    Commit,
    /// A clean stop and a start.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (1u16..900, 0u32..150, prop::bool::weighted(0.03)).prop_map(|(size, ms, other)| Step::Frame(size, ms, other)),
        1 => (1u16..900, 10_000u32..30_000, Just(false)).prop_map(|(size, ms, other)| Step::Frame(size, ms, other)),
        2 => Just(Step::Commit),
        1 => Just(Step::Restart),
    ]
}

fn spec() -> impl Strategy<Value = Spec> {
    let rate = prop_oneof![Just(VideoRate::Source), Just(VideoRate::Fixed(10))];
    let segment = prop_oneof![
        Just(None),
        Just(Some(SegmentSpec { max_duration: Some(Duration::secs(1)), max_bytes: None })),
        Just(Some(SegmentSpec { max_duration: None, max_bytes: Some(ByteSize(9000)) })),
    ];
    (rate, segment).prop_map(|(frame_rate, segment)| Spec {
        directory: "cam".into(),
        file_name: None,
        time_zone: None,
        codec: Codec::Mjpeg,
        frame_rate,
        segment,
        merge_window: Duration::millis(250),
    })
}

/// Kafka's side: the committed offset with its metadata, and how much was durable then.
#[derive(Clone, Default)]
struct Group {
    committed: Option<(i64, String)>,
    next: usize,
}

/// Runs steps from the committed frame on until the end or the crash. True when it came to the end.
fn run(root: &Path, spec: &Spec, frames: &[SinkFrame], steps: &[Step], group: &mut Group, disk: Disk) -> bool {
    let attempt = || -> Result<(), OutputError> {
        let mut video = Video::with(root, spec, &name(), disk, SMALL)?;
        let start = |video: &mut Video, group: &mut Group| -> Result<(), OutputError> {
            let metadata = video.resume(&assigned(&group.committed), Lease::endless())?;
            if group.committed.is_none() {
                group.committed = Some((0, metadata));
            }
            Ok(())
        };
        let commit = |video: &mut Video, group: &mut Group, at: usize| -> Result<(), OutputError> {
            let job = video.seal()?;
            (job.run)()?;
            assert!(job.metadata.len() <= checkpoint::LONGEST);
            group.committed = Some((at as i64, job.metadata));
            group.next = at;
            video.committed()
        };
        start(&mut video, group)?;
        let mut at = group.next;
        // The steps before the committed frame are done; those after it come again.
        let mut seen = 0;
        for step in steps {
            match step {
                Step::Frame(..) => {
                    seen += 1;
                    if seen > at {
                        video.write(&frames[at])?;
                        at += 1;
                    }
                }
                Step::Commit if seen >= at => commit(&mut video, group, at)?,
                Step::Restart if seen >= at => {
                    commit(&mut video, group, at)?;
                    video.finish()?;
                    start(&mut video, group)?;
                }
                _ => {}
            }
        }
        commit(&mut video, group, at)?;
        video.finish()
    };
    attempt().is_ok()
}

/// All frames in the order of the files, by CSV and by the videos' bytes. Checks that index, walk and CSV agree.
fn stored(root: &Path) -> (Vec<i64>, Vec<Vec<u8>>) {
    let directory = root.join("cam");
    let log = fs::read(directory.join(".edgereel/lab.gate/segments")).unwrap();
    let (lines, _) = segment_log::parse(&log).unwrap();
    let (mut offsets, mut pictures) = (vec![], vec![]);
    let mut files = 1;
    for (_, line) in lines {
        let path = directory.join(&line.file);
        let bytes = fs::read(&path).unwrap();
        let header = avi::read::header(&mut Cursor::new(&bytes)).unwrap();
        let indexed = avi::read::indexed(&mut Cursor::new(&bytes), &header).unwrap();
        let mut walk = avi::read::walk(Cursor::new(&bytes), 0).unwrap();
        let walked: Vec<_> = walk.by_ref().map(Result::unwrap).collect();
        assert_eq!(walk.ended(), Some(avi::read::End::Whole));
        let place = |f: &avi::read::FrameRef| (f.offset, f.length);
        assert_eq!(walked.iter().map(place).collect::<Vec<_>>(), indexed.iter().map(place).collect::<Vec<_>>());
        assert_eq!(header.frames as usize, walked.len());
        let content = |f: &avi::read::FrameRef| bytes[f.offset as usize..][..f.length as usize].to_vec();
        let mut shown = vec![false; walked.len()];
        for row in fs::read_to_string(segment::csv_path(&path)).unwrap().lines().skip(1) {
            let fields: Vec<_> = row.split(',').collect();
            offsets.push(fields[3].parse().unwrap());
            if let Ok(frame) = fields[0].parse::<usize>() {
                pictures.push(content(&walked[frame]));
                shown[frame] = true;
            }
        }
        for again in (0..walked.len()).filter(|n| !shown[*n]) {
            assert_eq!(content(&walked[again]), content(&walked[again - 1]), "frame {again} repeats the one before");
        }
        files += 2;
    }
    assert_eq!(fs::read_dir(&directory).unwrap().count(), files, "a file that no log line names");
    (offsets, pictures)
}

fn frames_of(steps: &[Step]) -> Vec<SinkFrame> {
    let mut time = 1_700_000_000_000_000;
    let sizes = steps.iter().filter_map(|step| match step {
        Step::Frame(bytes, ms, other) => Some((*bytes, *ms, *other)),
        _ => None,
    });
    sizes
        .enumerate()
        .map(|(n, (bytes, ms, other))| {
            time += i64::from(ms) * 1000;
            let content = vec![n as u8 + 1; usize::from(bytes)];
            frame(n as i64, time, content, if other { (320, 240) } else { (640, 480) })
        })
        .collect()
}

/// The power fails: what was not synced may be there, or not, or be rubbish.
fn lose_power(root: &Path, group: &Group, rubbish: &[u8]) {
    let Some((_, metadata)) = &group.committed else { return };
    let checkpoint = Checkpoint::from_metadata(metadata).unwrap();
    let Some(open) = checkpoint.open else { return };
    let path = root.join("cam").join(&open.name);
    for (path, durable) in [(path.clone(), open.end), (segment::csv_path(&path), open.csv)] {
        let mut bytes = fs::read(&path).unwrap();
        let keep = durable as usize + (bytes.len() - durable as usize) / 2;
        bytes.truncate(keep);
        bytes.extend(rubbish);
        fs::write(&path, bytes).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, max_shrink_iters: 200, ..Default::default() })]
    #[test]
    fn after_a_crash_at_any_byte_every_frame_is_there_once(
        spec in spec(),
        steps in prop::collection::vec(step(), 1..60),
        crashes in prop::collection::vec(any::<prop::sample::Index>(), 10),
        rubbish in prop::collection::vec(any::<u8>(), 0..40),
        power in any::<bool>(),
    ) {
        let frames = frames_of(&steps);
        let expected_offsets: Vec<i64> = (0..frames.len() as i64).collect();
        let clean = tempfile::tempdir().unwrap();
        let budget = Arc::new(CrashAfter(AtomicU64::new(u64::MAX)));
        let mut group = Group::default();
        prop_assert!(run(clean.path(), &spec, &frames, &steps, &mut group, Disk::failing(budget.clone())));
        let total = u64::MAX - budget.0.load(std::sync::atomic::Ordering::Relaxed);
        let (offsets, pictures) = stored(clean.path());
        prop_assert_eq!(&offsets, &expected_offsets);
        if spec.frame_rate != VideoRate::Source {
            let all: Vec<_> = frames.iter().map(|f| f.picture.to_vec()).collect();
            prop_assert_eq!(&pictures, &all);
        }
        // The header's many zeros make most byte positions alike: half of the crashes happen among the rest.
        for (n, crash) in crashes.iter().enumerate() {
            let span = if n % 2 == 0 { total } else { total.min(6000) };
            let after = total - span + crash.index(span as usize) as u64;
            let dir = tempfile::tempdir().unwrap();
            let mut group = Group::default();
            let disk = Disk::failing(Arc::new(CrashAfter(AtomicU64::new(after))));
            run(dir.path(), &spec, &frames, &steps, &mut group, disk);
            if power {
                lose_power(dir.path(), &group, &rubbish);
            }
            // It crashes once more while it recovers or soon after.
            let disk = Disk::failing(Arc::new(CrashAfter(AtomicU64::new(after % 3001))));
            run(dir.path(), &spec, &frames, &steps, &mut group, disk);
            prop_assert!(run(dir.path(), &spec, &frames, &steps, &mut group, Disk::default()), "crash after {after}");
            let (offsets, again) = stored(dir.path());
            prop_assert_eq!(&offsets, &expected_offsets, "crash after {}", after);
            prop_assert_eq!(&again, &pictures, "crash after {}", after);
        }
    }
}
