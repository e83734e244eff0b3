//! Looks at files once, for `edgereel check`: which of them would be read.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use edgereel_crds::{file::FileSource, plan::CameraPlan};
use edgereel_runtime::fault::Fault;

use super::{
    Places,
    listing::{Unit, list},
    reader::{Nothing, Reader, Said},
    settings,
};
use crate::folder::files::NotNow;

/// So many files are looked into.
const SAMPLE: usize = 20;

/// What a look has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Where.
    pub folder: PathBuf,
    /// Videos, and pictures of sequences.
    pub files: (usize, usize),
    /// Those that were looked into.
    pub looked_at: usize,
    /// What keeps some of them from being read: how many, and of the first why.
    pub bad: Option<(usize, String)>,
}

/// Looks; changes nothing. Blocks.
///
/// # Errors
/// That the files are not there, or cannot be read.
pub fn look(plan: &CameraPlan, spec: &FileSource, storage_root: Option<&Path>) -> Result<Seen, Fault> {
    let places = Places::of(plan, spec, storage_root)?;
    let units = list(&places.open()?, &places.sought)?.units;
    let reader = Reader {
        folder: places.open()?,
        settings: settings(spec, &plan.spec),
        known: Nothing,
        given_up: Arc::new(AtomicBool::new(false)),
    };
    let mut seen = Seen { folder: places.folder, ..Seen::default() };
    for unit in &units {
        match unit {
            Unit::Video(_) => seen.files.0 += 1,
            Unit::Sequence(pictures) => seen.files.1 += pictures.len(),
        }
        if seen.looked_at >= SAMPLE {
            continue;
        }
        seen.looked_at += 1;
        reader.read(unit, &mut |said| {
            if let Said::Passed(path, NotNow::Bad(_, why)) | Said::Failed(path, why) = said {
                let bad = seen.bad.get_or_insert_with(|| (0, format!("{}: {why}", path.display())));
                bad.0 += 1;
            }
            // That it begins is enough.
            false
        });
    }
    Ok(seen)
}
