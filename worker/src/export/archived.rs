//! What of a range only the sink's archive has: retention has deleted it from the disk after the upload.

use std::path::Path;

use edgereel_crds::plan::SinkPlan;

use super::cut::Range;
use crate::sink::{
    archive::ledger::{Entry, Known},
    fault::OutputError,
    private_dir,
};

/// A note for each video of the range that is in the archive and not on the disk: which, from when to when, and where.
pub fn notes(directory: &Path, plan: &SinkPlan, range: &Range) -> Result<Vec<String>, OutputError> {
    let known = Known::read(&directory.join(private_dir::place(&plan.name)?))?;
    let note = |entry: &Entry| {
        let (from, until) = (entry.from?, entry.until?);
        let concerns = from < range.to && until >= range.from && !directory.join(&entry.file).exists();
        let Entry { place, file, .. } = entry;
        concerns.then(|| format!("{from} to {until} is in {place}/{file}, and not on the disk any more"))
    };
    Ok(known.entries.iter().filter_map(note).collect())
}
