//! A name that is taken: by this very frame, from before a crash, or by another picture, which must not be lost.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use edgereel_crds::status::Reason;
use jiff::Timestamp;
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::Mode,
};

use crate::sink::{
    fault::OutputError,
    output::{At, SinkFrame},
};

/// What file systems give back after a power failure is whole to this many bytes, or zero.
const BLOCK: usize = 512;

/// Whether a file holds this frame, or what a power failure left of it: a shorter file, blocks of zeros.
pub fn holds(mut file: impl Read, jpeg: &[u8]) -> io::Result<bool> {
    let mut rest = jpeg;
    let mut buffer = [0; 128 * BLOCK];
    loop {
        let mut length = 0;
        while length < buffer.len() {
            match file.read(&mut buffer[length..])? {
                0 => break,
                n => length += n,
            }
        }
        if length == 0 {
            return Ok(true);
        }
        let Some((expected, behind)) = rest.split_at_checked(length) else { return Ok(false) };
        let mut blocks = buffer[..length].chunks(BLOCK).zip(expected.chunks(BLOCK));
        if !blocks.all(|(found, expected)| found == expected || found.iter().all(|b| *b == 0)) {
            return Ok(false);
        }
        rest = behind;
    }
}

/// Fails when what has the name is not the frame's own.
pub fn check(directory: &File, name: &str, path: &Path, frame: &SinkFrame) -> Result<(), OutputError> {
    // Not waiting for whoever writes to a pipe of that name, and not following a link.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = match openat(directory, name, flags, Mode::empty()) {
        Err(Errno::ELOOP) => return Err(other(path, "is a symbolic link", frame)),
        opened => File::from(opened.map_err(io::Error::from).at("read", path)?),
    };
    let meta = file.metadata().at("read", path)?;
    if meta.is_dir() {
        return Err(OutputError::from_io("write", path, &io::ErrorKind::IsADirectory.into()));
    }
    if !meta.is_file() {
        return Err(other(path, "is not a file", frame));
    }
    if holds(&file, &frame.picture).at("read", path)? {
        return Ok(());
    }
    let time = meta.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
    let time = time.map(|time| format!(", of {time:.0}")).unwrap_or_default();
    let what = format!(
        "holds another picture ({} bytes{time}), of an earlier record {} of that place (was the topic made anew?) or of \
         another topic or sink",
        meta.len(),
        place(frame)
    );
    Err(other(path, &what, frame))
}

fn place(frame: &SinkFrame) -> String {
    format!("{}[{}]@{}", frame.source.topic, frame.source.partition, frame.offset)
}

fn other(path: &Path, what: &str, frame: &SinkFrame) -> OutputError {
    let message = format!(
        "{} has the name of record {} ({} bytes) and {what}; it is not overwritten: move it away, or give this sink a \
         directory or a fileName of its own",
        path.display(),
        place(frame),
        frame.picture.len()
    );
    OutputError::storage(Reason::StorageError, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_a_power_failure_leaves_of_a_frame_is_known_and_another_frame_is_not(
            jpeg in prop::collection::vec(1u8.., 1..3000), length in any::<prop::sample::Index>(),
            zeros in prop::collection::vec(any::<bool>(), 6), at in any::<prop::sample::Index>(), change in 1u8..,
        ) {
            let mut left = jpeg[..length.index(jpeg.len() + 1)].to_vec();
            for (block, _) in left.chunks_mut(BLOCK).zip(&zeros).filter(|(_, zero)| **zero) {
                block.fill(0);
            }
            prop_assert!(holds(&*left, &jpeg).unwrap());
            prop_assert!(!holds(&*[&jpeg[..], &[0]].concat(), &jpeg).unwrap(), "longer than the frame");
            let mut other = jpeg.clone();
            let at = at.index(jpeg.len());
            other[at] = other[at].wrapping_add(change);
            // A last block of one byte that became zero is taken for the frame's.
            let all_zero = other.chunks(BLOCK).nth(at / BLOCK).is_some_and(|block| block.iter().all(|b| *b == 0));
            prop_assert_eq!(holds(&*other, &jpeg).unwrap(), all_zero);
        }
    }
}
