//! Which resources a window shows, and in which order, where it is too low for all of them and for what is wrong with them.

use super::row::Row;

/// What is shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    /// The places of the rows that are, in the order in which they are.
    pub shown: Vec<usize>,
    /// Whether some of them are in trouble whose note has no line of its own.
    pub crowded: bool,
}

/// Chooses rows for so many lines. `notes` says how many lines each row's note takes below it; none where it fits beside.
///
/// What is in trouble comes first, with a line for each note, and with more where that takes a quarter of the window at
/// most. Then come the others as there is room, both in the order that they have. Where all fit, nothing changes its place.
pub fn choose(rows: &[Row], notes: &[usize], room: usize) -> Choice {
    let mut shown: Vec<usize> = (0..rows.len()).collect();
    let troubled: Vec<usize> = shown.iter().copied().filter(|n| rows[*n].in_trouble()).collect();
    let a_line_each = troubled.iter().filter(|n| notes[**n] > 0).count();
    if rows.len() + a_line_each <= room {
        return Choice { shown, crowded: false };
    }
    // The last line counts those that are not shown.
    let room = room.saturating_sub(1);
    let all_lines: usize = troubled.iter().map(|n| notes[*n]).sum();
    let wanted = a_line_each.max(all_lines.min(room / 4));
    let noted = wanted.min(room.saturating_sub(troubled.len()));
    shown.sort_by_key(|n| !rows[*n].in_trouble());
    shown.truncate(room - noted);
    Choice { shown, crowded: noted < a_line_each }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::row::Light, *};

    fn rows(troubled: &[bool]) -> Vec<Row> {
        let light = |troubled: &bool| if *troubled { Light::Red } else { Light::Green };
        troubled.iter().map(|t| Row { light: light(t), ..Row::default() }).collect()
    }

    #[test]
    fn where_all_fit_nothing_changes_its_place() {
        let rows = rows(&[false, true, false]);
        assert_eq!(choose(&rows, &[0, 1, 0], 4), Choice { shown: vec![0, 1, 2], crowded: false });
        assert_eq!(choose(&rows, &[0, 1, 0], 3), Choice { shown: vec![1], crowded: false }, "a note, and a count");
        assert_eq!(choose(&rows, &[0, 0, 0], 3), Choice { shown: vec![0, 1, 2], crowded: false });
    }

    proptest! {
        #[test]
        fn trouble_comes_first_and_both_keep_their_order(
            all in prop::collection::vec((any::<bool>(), 0usize..4), 0..60), room in 0usize..50,
        ) {
            let (troubled, notes): (Vec<bool>, Vec<usize>) = all.into_iter().unzip();
            let Choice { shown, crowded } = choose(&rows(&troubled), &notes, room);
            prop_assert!(shown.len() <= room);
            let all_there = shown.len() == troubled.len();
            prop_assert!(shown.is_sorted() || shown.is_sorted_by_key(|n| (!troubled[*n], *n)));
            let hidden: Vec<usize> = (0..troubled.len()).filter(|n| !shown.contains(n)).collect();
            prop_assert!(all_there || hidden.iter().all(|n| !troubled[*n]) || shown.iter().all(|n| troubled[*n]));
            let lines = shown.iter().filter(|n| troubled[**n] && notes[**n] > 0).count();
            prop_assert!(crowded || shown.len() + lines + usize::from(!all_there) <= room.max(1));
        }
    }
}
