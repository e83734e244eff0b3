//! Files beyond 1 and 4 GiB, with the limits that sinks have. They are sparse: their frames are small pictures with a hole
//! behind them.

use std::{fs::File, os::unix::fs::MetadataExt, path::Path, process::Command};

use edgereel_frame::samples::picture;

use super::{
    Format, Limits, MJPG, Rate,
    read::{self, End},
    recover::recover,
    write::{AviWriter, new_file},
};
use crate::sink::disk::{AppendFile, Disk};

/// Bytes of a frame: few of them fill a RIFF, and they do not divide it.
const FRAME: u32 = 33_000_001;
const GIB: u64 = 1 << 30;

/// Frames that FFmpeg finds and decodes from the first to the last, in the whole file.
fn played(path: &Path) -> String {
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", "v", "-show_entries", "stream=nb_read_frames"])
        .args(["-of", "csv=p=0"])
        .arg(path)
        .output()
        .expect("ffprobe of Debian's ffmpeg is needed");
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_file_beyond_four_gibibytes_is_taken_up_finished_and_played_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.avi");
    let jpeg = picture(64, 48, 1);
    let format = Format { codec: MJPG, width: 64, height: 48 };
    let mut video = AviWriter::begin(new_file(&path), format, Rate::per_second(10), Limits::default(), "").unwrap();
    let mut checkpoints = vec![];
    let mut frames = 0;
    for border in [GIB, 2 * GIB, 4 * GIB] {
        while video.file().length() <= border {
            video.write_sparse(&jpeg, FRAME);
            frames += 1;
        }
        video.patch(Rate::per_second(10)).unwrap();
        checkpoints.push((video.file().length(), video.frames()));
    }
    let last = checkpoints[2];
    assert_eq!(last.1, frames);
    // A crash, with frames behind the checkpoint.
    video.write_sparse(&jpeg, FRAME);
    drop(video);
    let open = || AppendFile::open(path.clone(), &Disk::default()).unwrap();
    let mut video = recover(open(), last.0, last.1, Limits::default()).unwrap();
    assert_eq!(video.file().length(), last.0);
    for _ in 0..5 {
        video.write_sparse(&jpeg, FRAME);
        frames += 1;
    }
    video.finish(Rate::per_second(10)).unwrap();
    let mut file = File::open(&path).unwrap();
    let meta = file.metadata().unwrap();
    assert!(
        meta.len() > 4 * GIB && meta.blocks() * 512 < 1 << 27,
        "{} bytes take {} blocks",
        meta.len(),
        meta.blocks()
    );

    let header = read::header(&mut file).unwrap();
    assert_eq!((u64::from(header.frames), header.closed.len()), (frames, 5), "a RIFF about every GiB");
    let indexed = read::indexed(&mut file, &header).unwrap();
    let mut walk = read::walk(&file, 0).unwrap();
    let walked: Vec<_> = walk.by_ref().map(Result::unwrap).collect();
    assert_eq!(walk.ended(), Some(End::Whole));
    assert_eq!(walked.len() as u64, frames);
    assert_eq!(
        indexed.iter().map(|f| f.offset).collect::<Vec<_>>(),
        walked.iter().map(|f| f.offset).collect::<Vec<_>>()
    );
    assert_eq!(played(&path), frames.to_string());
}
