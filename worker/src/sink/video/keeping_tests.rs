//! Old videos go as a whole, never the one that grows, and whatever went on purpose is known to have.

use std::{collections::BTreeMap, fs, sync::Arc, sync::atomic::AtomicU64};

use proptest::prelude::*;

use super::{tests::*, *};
use crate::sink::{
    disk::faults::CrashAfter,
    retention::{Kept, gone::Gone},
};

fn ids(id: &str) -> BTreeMap<String, String> {
    [(partition().topic.to_string(), id.to_owned())].into()
}

/// A video in files of a second, ten frames each.
fn open(root: &Path, committed: &Option<(i64, String)>, id: &str, disk: Disk) -> Result<(Video, String), OutputError> {
    let spec = spec("{segment:03}.avi", Some(1));
    let mut video = Video::with(root, &spec, &name(), disk, Limits::default())?.keep_stock(true, None)?;
    video.topics(&ids(id));
    let metadata = video.resume(&assigned(committed), Lease::endless())?;
    Ok((video, metadata))
}

fn commit(video: &mut Video, at: i64) -> Result<Option<(i64, String)>, OutputError> {
    let job = video.seal()?;
    (job.run)()?;
    video.committed()?;
    Ok(Some((at, job.metadata)))
}

fn below(root: &Path, id: &str) -> i64 {
    let gone = Gone::read(&root.join("cam/.edgereel/lab.gate")).expect("readable").expect("known");
    gone.below.get(&*partition().topic).and_then(|ids| ids.get(id)?.get(&0).copied()).unwrap_or(0)
}

/// The offsets that stand in the CSVs.
fn stored(root: &Path) -> Vec<i64> {
    let mut found = vec![];
    for entry in fs::read_dir(root.join("cam")).expect("there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|ending| ending == "csv") && path.with_extension("avi").exists() {
            let text = fs::read_to_string(path).expect("text");
            found.extend(text.lines().filter_map(|row| sheet::place(row).map(|(_, _, offset)| offset)));
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn closed_videos_go_from_the_oldest_on_and_the_one_that_grows_stays() {
    let root = tempfile::tempdir().expect("a directory");
    let (mut video, _) = open(root.path(), &None, "id", Disk::default()).expect("opens");
    (0..35).for_each(|n| assert!(video.write(&nth(n)).expect("written").stored));
    let committed = commit(&mut video, 35).expect("durable");
    assert_eq!(video.totals().files, 4);
    let all = video.totals();
    let oldest = video.oldest().expect("known").expect("there");
    assert_eq!(oldest.time, 1_700_000_000, "of its last frame");
    let mut left = 2;
    let mut two = |_: crate::sink::retention::Unit| {
        left -= 1;
        left >= 0
    };
    let deleted = video.delete(100, &mut two).expect("deleted");
    assert_eq!((deleted.files, below(root.path(), "id"), stored(root.path())), (2, 20, (20..35).collect()));
    assert_eq!(video.totals(), all.without(deleted));
    assert_eq!(video.delete(100, &mut |_| true).expect("deleted").files, 1);
    assert_eq!(video.delete(100, &mut |_| true).expect("nothing").files, 0, "that one grows");
    drop(video);
    let (mut video, _) = open(root.path(), &committed, "id", Disk::default()).expect("opens");
    assert_eq!((video.totals().files, video.oldest().expect("known")), (1, None));
    video.write(&nth(35)).expect("it goes on");
    commit(&mut video, 36).expect("durable");
    assert_eq!(stored(root.path()), (30..36).collect::<Vec<_>>());
}

#[test]
fn a_topic_that_was_made_anew_gets_a_file_of_its_own_so_that_what_goes_is_known_by_its_id() {
    let root = tempfile::tempdir().expect("a directory");
    let (mut video, _) = open(root.path(), &None, "old", Disk::default()).expect("opens");
    (0..5).for_each(|n| assert!(video.write(&nth(n)).expect("written").stored));
    let Some((_, metadata)) = commit(&mut video, 5).expect("durable") else { panic!("committed") };
    drop(video);
    let (mut video, _) = open(root.path(), &Some((0, metadata)), "new", Disk::default()).expect("opens");
    assert_eq!(video.totals().files, 1, "closed");
    video.write(&nth(100)).expect("written");
    commit(&mut video, 101).expect("durable");
    assert_eq!(video.delete(9, &mut |_| true).expect("deleted").files, 1);
    assert_eq!((below(root.path(), "old"), below(root.path(), "new"), stored(root.path())), (5, 0, vec![100]));
}

#[test]
fn a_file_of_somebody_elses_that_has_a_videos_name_stays() {
    let root = tempfile::tempdir().expect("a directory");
    let (mut video, _) = open(root.path(), &None, "id", Disk::default()).expect("opens");
    (0..15).for_each(|n| assert!(video.write(&nth(n)).expect("written").stored));
    commit(&mut video, 15).expect("durable");
    let path = root.path().join("cam/001.avi");
    fs::write(&path, vec![7; 100_000]).expect("written");
    video.delete(9, &mut |_| true).expect("passed over");
    assert_eq!(fs::read(path).expect("there").len(), 100_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..Default::default() })]
    #[test]
    fn after_any_crash_what_is_missing_was_deleted_on_purpose(
        steps in prop::collection::vec(0u8..10, 1..60), crashes in prop::collection::vec(any::<prop::sample::Index>(), 3),
    ) {
        let run = |root: &Path, committed: &mut Option<(i64, String)>, disk: Disk| -> Result<i64, OutputError> {
            let (mut video, metadata) = open(root, committed, "id", disk)?;
            committed.get_or_insert((0, metadata));
            let (mut at, mut seen) = (committed.as_ref().map_or(0, |(at, _)| *at), 0);
            for step in &steps {
                match step {
                    0..6 => for _ in 0..3 {
                        seen += 1;
                        if seen > at {
                            video.write(&nth(at))?;
                            at += 1;
                        }
                    },
                    6..8 => *committed = commit(&mut video, at)?,
                    _ => drop(video.delete(usize::from(*step - 7), &mut |_| true)?.files),
                }
            }
            *committed = commit(&mut video, at)?;
            video.finish()?;
            Ok(at)
        };
        let clean = tempfile::tempdir().expect("a directory");
        let budget = Arc::new(CrashAfter(AtomicU64::new(u64::MAX)));
        run(clean.path(), &mut None, Disk::failing(budget.clone())).expect("no crash");
        let total = u64::MAX - budget.0.load(std::sync::atomic::Ordering::Relaxed);
        let root = tempfile::tempdir().expect("a directory");
        let mut committed = None;
        for crash in crashes {
            let after = crash.index(total as usize) as u64;
            let _ = run(root.path(), &mut committed, Disk::failing(Arc::new(CrashAfter(AtomicU64::new(after)))));
        }
        let at = run(root.path(), &mut committed, Disk::default()).expect("no crash");
        let (there, gone) = (stored(root.path()), below(root.path(), "id"));
        prop_assert!((gone..at).all(|n| there.contains(&n)), "below {}: {:?} of {}", gone, there, at);
        let mut once = there.clone();
        once.dedup();
        prop_assert_eq!(once, there, "none twice");
    }
}
