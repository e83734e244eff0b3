//! Looks at a folder once, for `edgereel check`: what of it would be sent.

use std::path::Path;

use edgereel_crds::{directory::DirectorySource, plan::CameraPlan};
use edgereel_runtime::fault::Fault;

use super::{Paths, files::Folder, labels::Labels};

/// So many files are looked into.
const SAMPLE: usize = 100;

/// What a look has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Files that could be pictures, by their names.
    pub files: usize,
    /// Those that were looked into.
    pub looked_at: usize,
    /// What keeps some of them from being sent: how many, and of the first why.
    pub bad: Option<(usize, String)>,
}

/// Looks; changes nothing. Blocks.
///
/// # Errors
/// That the folder is not there, or cannot be read.
pub fn look(plan: &CameraPlan, spec: &DirectorySource, storage_root: Option<&Path>) -> Result<(Paths, Seen), Fault> {
    let paths = Paths::of(plan, spec, storage_root)?;
    let folder = Folder::open(&paths.folder, paths.sent.as_deref())?;
    let mut labels = Labels::new(spec);
    let mut files = folder.list()?.files;
    files.retain(|path| !labels.is_label(path));
    let (most, mut seen) =
        (plan.spec.encoding.max_frame_bytes.as_usize(), Seen { files: files.len(), ..Seen::default() });
    for path in files.iter().take(SAMPLE) {
        seen.looked_at += 1;
        let why = match folder.read(path, most) {
            Ok(_) => labels.of(&folder, path).err().map(|why| why.0),
            Err(super::files::NotNow::Bad(_, why)) => Some(why),
            Err(_) => None,
        };
        if let Some(why) = why {
            let bad = seen.bad.get_or_insert_with(|| (0, format!("{}: {why}", path.display())));
            bad.0 += 1;
        }
    }
    Ok((paths, seen))
}
