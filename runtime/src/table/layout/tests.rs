//! The table at the sizes that people have, and at all others.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn good(n: u64) -> Row {
    Row {
        kind: "cam".into(),
        name: format!("agricam{n}"),
        state: "Ready".into(),
        light: Light::Green,
        fps: 30.0,
        bytes: 85_000,
        captured: Some(1_234_567),
        stored: 1_234_560,
        ..Row::default()
    }
}

fn bad(n: u64, note: &str) -> Row {
    Row { state: "CameraUnreachable".into(), light: Light::Red, fps: 0.0, note: note.into(), ..good(n) }
}

fn shown(rows: &[Row], columns: usize, lines: usize) -> Vec<String> {
    table(rows, columns, lines).iter().map(|line| console::strip_ansi_codes(line).into_owned()).collect()
}

#[test]
fn one_resource_at_80_columns_has_all_that_matters_and_its_size() {
    let sink = Row { captured: None, lag: Some(12), dropped: 3, losing: true, ..good(3) };
    assert_eq!(
        shown(&[sink], 80, 24),
        [
            "NAME     STATE  FPS   KB CAPTURED  STORED LAG DROPPED",
            "agricam3 Ready 30.0 85.0        - 1234560  12       3"
        ]
    );
}

#[test]
fn what_goes_wrong_stands_beside_its_row_or_below_it_where_there_is_room() {
    let rows = [
        good(1),
        bad(2, "5s ago: no route to 10.1.56.46:9085: check that the camera is on; dropped: 3 truncated"),
        bad(3, "5s ago: no route"),
    ];
    assert_eq!(
        shown(&rows, 80, 24),
        [
            "NAME     STATE              FPS  STORED LAG DROPPED  NOTE",
            "agricam1 Ready             30.0 1234560   -       0",
            "agricam2 CameraUnreachable  0.0 1234560   -       0",
            "    5s ago: no route to 10.1.56.46:9085: check that the camera is on; dropped:",
            "    3 truncated",
            "agricam3 CameraUnreachable  0.0 1234560   -       0  5s ago: no route",
        ]
    );
}

const NO_ROUTE: &str =
    "5s ago: http://10.1.56.46:9085/video: no route to the camera: check that it is on, and the cable";

#[test]
fn of_28_resources_on_24_lines_those_in_trouble_come_first_with_their_notes_and_the_others_are_counted() {
    let mut rows: Vec<Row> = (0..28).map(good).collect();
    rows[9] = bad(9, NO_ROUTE);
    rows[27] = bad(27, NO_ROUTE);
    let seen = shown(&rows, 80, 24);
    assert_eq!(
        &seen[..8],
        [
            "NAME      STATE              FPS  STORED LAG DROPPED",
            "agricam9  CameraUnreachable  0.0 1234560   -       0",
            "    5s ago: http://10.1.56.46:9085/video: no route to the camera: check that it",
            "    is on, and the cable",
            "agricam27 CameraUnreachable  0.0 1234560   -       0",
            "    5s ago: http://10.1.56.46:9085/video: no route to the camera: check that it",
            "    is on, and the cable",
            "agricam0  Ready             30.0 1234560   -       0",
        ]
    );
    assert_eq!((seen.len(), seen[22].as_str()), (23, "+11 more (make the window higher)"));
}

/// 22 rows fit 24 lines, and what is wrong with one of them does not.
#[test]
fn a_note_is_worth_more_than_a_row_of_what_works() {
    let mut rows: Vec<Row> = (0..22).map(good).collect();
    assert_eq!(shown(&rows, 80, 24).len(), 23);
    rows[21] = bad(21, NO_ROUTE);
    let seen = shown(&rows, 80, 24);
    assert!(seen[1].starts_with("agricam21 ") && seen[2].starts_with("    5s ago: http://10.1.56.46"), "{seen:#?}");
    assert_eq!((seen.len(), seen[22].as_str()), (23, "+3 more (make the window higher)"));
}

#[test]
fn where_all_are_in_trouble_their_notes_are_read_beside_them_instead_of_some_figures() {
    let rows: Vec<Row> = (0..28).map(|n| bad(n, NO_ROUTE)).collect();
    let seen = shown(&rows, 80, 24);
    assert_eq!(
        &seen[..2],
        [
            "NAME      STATE             FPS  STORED LAG  NOTE",
            "agricam0  CameraUnreachable 0.0 1234560   -  5s ago: http://10.1.56.46:9085/vi…",
        ]
    );
    assert_eq!((seen.len(), seen[22].as_str()), (23, "+7 more, 7 of them in trouble (make the window higher)"));
}

#[test]
fn at_40_columns_the_last_columns_are_left_out_and_at_200_nothing_is() {
    let rows = [good(1), bad(2, "5s ago: no route")];
    assert_eq!(
        shown(&rows, 40, 24),
        [
            "NAME     STATE              FPS  STORED",
            "agricam1 Ready             30.0 1234560",
            "agricam2 CameraUnreachable  0.0 1234560",
            "    5s ago: no route",
        ]
    );
    let wide = shown(&rows, 200, 24);
    assert_eq!(wide[0], "NAME     STATE              FPS   KB CAPTURED  STORED LAG DROPPED  NOTE");
    assert!(wide[2].ends_with("0  5s ago: no route"), "{wide:?}");
}

#[test]
fn each_note_has_a_line_before_any_has_a_second_and_none_has_more_than_three() {
    let long = "5s ago: ".to_owned() + &"word ".repeat(200);
    let rows = [bad(1, &long), good(2), bad(3, &long)];
    let lines_of = |lines| {
        let seen = shown(&rows, 80, lines);
        let noted: Vec<usize> =
            seen.iter().enumerate().filter(|(_, l)| l.starts_with("    ")).map(|(n, _)| n).collect();
        (noted, seen.len())
    };
    assert_eq!(lines_of(7), (vec![2, 5], 6));
    assert_eq!(lines_of(8), (vec![2, 3, 6], 7));
    assert_eq!(lines_of(40), (vec![2, 3, 4, 7, 8, 9], 10));
}

#[test]
fn a_camera_and_a_sink_of_one_name_are_told_apart() {
    let sink = Row { kind: "fsink".into(), ..good(1) };
    let seen = shown(&[good(1), sink], 80, 24);
    assert!(seen[1].starts_with("cam/agricam1 ") && seen[2].starts_with("fsink/agricam1 "), "{seen:?}");
}

fn row() -> impl Strategy<Value = Row> {
    let texts = ("[a-c]{1,3}(-frames|視)?[a-c0-9-]{0,30}", "(|[a-z視 ]{0,120})");
    let states = prop::sample::select(vec!["Ready", "CameraUnreachable", "InvalidConfiguration", "Starting"]);
    let lights = prop::sample::select(vec![Light::Green, Light::Yellow, Light::Red]);
    (texts, states, lights, any::<[u64; 3]>(), any::<Option<i64>>()).prop_map(
        |((name, note), state, light, [stored, dropped, bytes], lag)| Row {
            name,
            note,
            state: state.into(),
            light,
            stored,
            dropped,
            bytes,
            lag,
            ..good(1)
        },
    )
}

proptest! {
    #[test]
    fn the_table_stays_in_its_window_and_tells_all_names_apart(
        rows in prop::collection::vec(row(), 0..40), columns in 1usize..220, lines in 1usize..60,
    ) {
        let mut seen = HashSet::new();
        let rows: Vec<Row> = rows.into_iter().filter(|row| seen.insert(row.name.clone())).collect();
        let table = shown(&rows, columns, lines);
        prop_assert!(table.len() < lines.max(1) || table.is_empty(), "{} lines", table.len());
        if columns >= 20 {
            prop_assert!(table.iter().all(|line| measure_text_width(line) < columns), "{table:#?}");
        }
        let troubled = rows.iter().filter(|row| row.in_trouble()).count();
        if lines > rows.len() + troubled + 2 && columns >= 20 {
            let starts = table.iter().skip(1).filter(|line| !line.starts_with("    "));
            prop_assert_eq!(starts.count(), rows.len());
        }
    }
}
