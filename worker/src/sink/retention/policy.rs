//! What is due to be deleted: pure.

use edgereel_crds::retention::{MinFree, Retention, WhenFull};

use super::{Unit, stored_log::Totals};

/// So much is freed at least where a disk says that it is full and its figures do not.
const SOME: u64 = 16 << 20;

/// What is known of the disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk {
    /// Its bytes.
    pub size: u64,
    /// Those that are free.
    pub free: u64,
    /// A write has found none free.
    pub full: bool,
}

/// What is to go, as of now.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// All captured before this, in seconds since 1970.
    before: Option<i64>,
    /// So many bytes more.
    bytes: u64,
    /// So many bytes, of frames that are no younger than anybody else's.
    room: u64,
    others: Option<i64>,
}

/// The bytes that are to stay free.
pub fn min_free(retention: &Retention, disk: &Disk) -> u64 {
    match retention.min_free {
        None => 0,
        Some(MinFree::Bytes(bytes)) => bytes.0,
        Some(MinFree::Percent(percent)) => (disk.size as f64 * f64::from(percent) / 100.0) as u64,
    }
}

impl Due {
    /// Of a sink that has `totals`; `others` is the oldest frame of the other sinks of the volume.
    pub fn now(retention: &Retention, totals: Totals, disk: &Disk, others: Option<i64>, now: i64) -> Self {
        let short = min_free(retention, disk).saturating_sub(disk.free).max(if disk.full { SOME } else { 0 });
        Due {
            before: retention.max_age.map(|age| now.saturating_sub_unsigned(age.as_secs())),
            bytes: retention.max_bytes.map_or(0, |max| totals.bytes.saturating_sub(max.0)),
            room: if retention.when_full == WhenFull::DeleteOldest { short } else { 0 },
            others,
        }
    }

    /// Whether this, the oldest, goes; then it is taken for gone.
    pub fn takes(&mut self, unit: Unit) -> bool {
        let turn = self.others.is_none_or(|theirs| unit.time <= theirs);
        let due = self.before.is_some_and(|before| unit.time < before) || self.bytes > 0 || (self.room > 0 && turn);
        if due {
            self.bytes = self.bytes.saturating_sub(unit.bytes);
            self.room = self.room.saturating_sub(unit.bytes);
        }
        due
    }

    /// Whether room is short and another sink is to make it.
    pub fn waits(&self, oldest: Option<Unit>) -> bool {
        self.room > 0 && oldest.zip(self.others).is_some_and(|(mine, theirs)| mine.time > theirs)
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::units::{ByteSize, Duration};

    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn gone(retention: &Retention, disk: Disk, others: Option<i64>) -> usize {
        let totals = Totals { files: 10, bytes: 1000 };
        let mut due = Due::now(retention, totals, &disk, others, NOW);
        // Ten units of 100 bytes, one an hour.
        (0..10).take_while(|n| due.takes(Unit { time: NOW - 36_000 + n * 3600, bytes: 100 })).count()
    }

    #[test]
    fn what_is_too_old_too_much_or_in_the_way_goes_oldest_first() {
        let roomy = Disk { size: 10_000, free: 5000, full: false };
        let keep = Retention::default();
        assert_eq!(gone(&keep, roomy, None), 0);
        let old = Retention { max_age: Some(Duration::secs(3 * 3600)), ..keep.clone() };
        assert_eq!(gone(&old, roomy, None), 7, "captured more than three hours ago");
        let much = Retention { max_bytes: Some(ByteSize(450)), ..keep.clone() };
        assert_eq!(gone(&much, roomy, None), 6, "400 bytes are left");
        let free = |min_free| Retention { min_free: Some(min_free), ..keep.clone() };
        assert_eq!(gone(&free(MinFree::Bytes(ByteSize(5250))), roomy, None), 3);
        assert_eq!(gone(&free(MinFree::Percent(51.0)), roomy, None), 1);
        assert_eq!(gone(&keep, Disk { full: true, ..roomy }, None), 10, "the disk says that it is full");
        let wait = Retention { when_full: WhenFull::Wait, ..free(MinFree::Percent(90.0)) };
        assert_eq!(gone(&wait, Disk { full: true, ..roomy }, None), 0);
    }

    #[test]
    fn where_room_is_short_the_oldest_frame_of_all_sinks_goes_first() {
        let disk = Disk { size: 10_000, free: 100, full: false };
        let free = Retention { min_free: Some(MinFree::Bytes(ByteSize(1100))), ..Retention::default() };
        assert_eq!(gone(&free, disk, Some(NOW - 36_001)), 0, "theirs is older");
        assert_eq!(gone(&free, disk, Some(NOW - 36_000 + 2 * 3600)), 3, "until theirs is");
        // Its own limits wait for nobody.
        let much = Retention { max_bytes: Some(ByteSize(450)), ..free };
        assert_eq!(gone(&much, disk, Some(NOW - 36_001)), 6);
    }
}
