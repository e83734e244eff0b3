//! Which closed files the store has, as far as this process knows: what may be deleted.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Which closed files the store has, by number, name and bytes.
#[derive(Debug, Default)]
pub struct Archived(Mutex<BTreeMap<u64, (String, u64)>>);

impl Archived {
    /// Whether the store has acknowledged this very file, with all that belongs to it.
    pub fn has(&self, segment: u64, file: &str, bytes: u64) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&segment).is_some_and(|(name, size)| name == file && *size == bytes)
    }

    /// It has.
    pub fn add(&self, segment: u64, file: String, bytes: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(segment, (file, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_in_the_archive_by_its_number_its_name_and_its_bytes() {
        let archived = Archived::default();
        archived.add(3, "a.avi".into(), 100);
        assert!(archived.has(3, "a.avi", 100));
        for (segment, file, bytes) in [(2, "a.avi", 100), (3, "b.avi", 100), (3, "a.avi", 99)] {
            assert!(!archived.has(segment, file, bytes), "{segment} {file} {bytes}");
        }
    }
}
