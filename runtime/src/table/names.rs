//! Names cut to a width, so that they stay told apart.

use console::{measure_text_width, truncate_str};

/// The names in so many columns. A cut one keeps its beginning and its end; where that makes two the same, as much of the
/// end as tells them apart, and else their numbers.
pub fn shortened(names: &[String], width: usize) -> Vec<String> {
    // As much of the end as of the beginning, then more and more of it.
    let ends = (width.saturating_sub(1) / 2)..width.max(1);
    let mut all: Vec<Option<String>> = names.iter().map(|_| None).collect();
    for end in ends {
        let cut: Vec<String> = names.iter().map(|name| middle(name, width, end)).collect();
        let taken: Vec<String> = all.iter().flatten().cloned().collect();
        for (n, short) in cut.iter().enumerate() {
            let alone = cut.iter().filter(|other| *other == short).count() == 1;
            if all[n].is_none() && alone && !taken.contains(short) {
                all[n] = Some(short.clone());
            }
        }
    }
    let numbered = |n: usize| {
        let number = format!("#{n}");
        let room = width.saturating_sub(number.len());
        format!("{}{number}", truncate_str(&names[n], room, "…"))
    };
    all.into_iter().enumerate().map(|(n, short)| short.unwrap_or_else(|| numbered(n))).collect()
}

/// The name with its middle left out, if it has to be: `end` columns of its end stay.
fn middle(name: &str, width: usize, end: usize) -> String {
    let whole = measure_text_width(name);
    if whole <= width {
        return name.to_owned();
    }
    let begin = width.saturating_sub(end + 1);
    let tail = name.char_indices().map(|(at, _)| &name[at..]).find(|tail| measure_text_width(tail) <= end);
    format!("{}…{}", truncate_str(name, begin, ""), tail.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn short(names: &[&str], width: usize) -> Vec<String> {
        shortened(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), width)
    }

    #[test]
    fn what_tells_names_apart_stays() {
        assert_eq!(short(&["gate", "lab"], 8), ["gate", "lab"]);
        assert_eq!(
            short(&["building-a-floor-1-north", "building-a-floor-2-north", "building-a-floor-1-south"], 11),
            ["bui…1-north", "bui…2-north", "build…south"]
        );
        assert_eq!(short(&["camera-12-frames", "camera-13-frames"], 9), ["…2-frames", "…3-frames"]);
    }

    proptest! {
        #[test]
        fn names_that_differ_are_shown_differently_and_fit(
            names in prop::collection::hash_set("[ab]{1,3}-?(cam|視)?[ab]{0,12}(-frames)?", 1..30), width in 6usize..20,
        ) {
            let names: Vec<String> = names.into_iter().collect();
            let short = shortened(&names, width);
            prop_assert!(short.iter().all(|name| measure_text_width(name) <= width), "{short:?}");
            prop_assert_eq!(short.iter().collect::<HashSet<_>>().len(), names.len(), "{:?} of {:?}", short, names);
        }
    }
}
