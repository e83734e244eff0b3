//! The table as lines of text, a pure function of the resources and the room that there is.
//!
//! What matters first comes first: name, state, frames a second, stored, lag, dropped, and what goes wrong. Sizes and frames
//! captured are shown where there is room. A note that does not fit beside its row gets lines of its own, where there are
//! lines to spare; what is in trouble goes before others, and its notes before their rows ([`choose`]). Resources that do not
//! fit are counted.

use std::collections::HashMap;

use console::{Style, measure_text_width, truncate_str};

use super::{
    choice::{Choice, choose},
    names::shortened,
    row::{Light, Row},
};

/// A name is cut to so many columns before anything else is left out.
const SHORT_NAME: usize = 14;
/// As wide a note is left room for before sizes and frames captured are shown.
const WIDE_NOTE: usize = 60;
/// A note is not worth less.
const SHORT_NOTE: usize = 8;
/// So much of a note that has no line of its own is worth more than figures: its age, and the beginning of its words.
const READABLE_NOTE: usize = 32;
/// Lines that a note may have below its row, and how far they stand to the right.
const NOTE_LINES: usize = 3;
const INDENT: &str = "    ";

/// A column: its head, its cells and whether numbers stand in it.
struct Column {
    head: &'static str,
    cells: Vec<(String, Style)>,
    right: bool,
}

/// The table in so many columns and lines; the last line and the last column stay free.
pub fn table(rows: &[Row], columns: usize, lines: usize) -> Vec<String> {
    let (columns, lines) = (columns.saturating_sub(1), lines.saturating_sub(1));
    let room = lines.saturating_sub(1);
    let names = labels(rows);
    let all: Vec<&Row> = rows.iter().collect();
    let (_, beside) = fitting(&all, &names, columns, 0);
    let below_width = columns.saturating_sub(INDENT.len());
    let lines_of = |row: &&Row| match measure_text_width(&row.note) > beside {
        true => wrapped(&row.note, below_width, NOTE_LINES).len(),
        false => 0,
    };
    let Choice { shown, crowded } = choose(rows, &all.iter().map(lines_of).collect::<Vec<_>>(), room);
    let hidden: Vec<&Row> = rows.iter().enumerate().filter(|(n, _)| !shown.contains(n)).map(|(_, row)| row).collect();
    let (shown, names): (Vec<&Row>, Vec<String>) = shown.iter().map(|n| (&rows[*n], names[*n].clone())).unzip();
    let (columns_shown, note_room) = fitting(&shown, &names, columns, if crowded { READABLE_NOTE } else { 0 });
    let spare = room.saturating_sub(shown.len() + usize::from(!hidden.is_empty()));
    let below = below(&shown, note_room, below_width, spare);

    let mut head = line(&columns_shown, None);
    if note_room >= SHORT_NOTE && (0..shown.len()).any(|n| !shown[n].note.is_empty() && below[n].is_empty()) {
        head += &truncate_str("  NOTE", note_room + 2, "");
    }
    let mut table = vec![bold().apply_to(head.trim_end()).to_string()];
    for (n, row) in shown.iter().enumerate() {
        let mut text = line(&columns_shown, Some(n));
        let note = note_style(row);
        if !below[n].is_empty() {
            table.push(text);
            table.extend(below[n].iter().map(|line| format!("{INDENT}{}", note.apply_to(line))));
            continue;
        }
        if !row.note.is_empty() && note_room >= SHORT_NOTE {
            text += &format!("  {}", note.apply_to(truncate_str(&row.note, note_room, "…")));
        }
        table.push(text);
    }
    if !hidden.is_empty() {
        let trouble = hidden.iter().filter(|row| row.in_trouble()).count();
        let trouble = if trouble > 0 { format!(", {trouble} of them in trouble") } else { String::new() };
        let more = format!("+{} more{trouble} (make the window higher)", hidden.len());
        table.push(truncate_str(&more, columns, "…").into_owned());
    }
    table.truncate(lines);
    table
}

/// The rows' names, with their kind where two have the same.
fn labels(rows: &[Row]) -> Vec<String> {
    let mut times: HashMap<&str, usize> = HashMap::new();
    rows.iter().for_each(|row| *times.entry(&row.name).or_default() += 1);
    let label = |row: &Row| match times[row.name.as_str()] {
        1 => row.name.clone(),
        _ => format!("{}/{}", row.kind, row.name),
    };
    rows.iter().map(label).collect()
}

/// The lines of those notes that do not fit beside their rows, as far as there are some to spare: those in trouble first, and
/// one for each before a second for any.
fn below(rows: &[&Row], note_room: usize, columns: usize, mut spare: usize) -> Vec<Vec<String>> {
    let wanting = |row: &Row| measure_text_width(&row.note) > note_room;
    let mut lines = vec![0; rows.len()];
    for round in 1..=NOTE_LINES {
        for trouble in [true, false] {
            for (n, row) in rows.iter().enumerate().filter(|(_, row)| wanting(row) && row.in_trouble() == trouble) {
                if spare > 0 && wrapped(&row.note, columns, round).len() == round {
                    spare -= 1;
                    lines[n] = round;
                }
            }
        }
    }
    rows.iter().zip(lines).map(|(row, lines)| wrapped(&row.note, columns, lines)).collect()
}

/// A text in lines of so many columns, broken between words; what the last one does not hold is cut.
fn wrapped(text: &str, columns: usize, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split(' ') {
        let full = lines.last().is_none_or(|line| measure_text_width(line) + 1 + measure_text_width(word) > columns);
        match lines.len() {
            count if full && count < most => lines.push(word.to_owned()),
            0 => {}
            last => lines[last - 1] += &format!(" {word}"),
        }
    }
    lines.iter().map(|line| truncate_str(line, columns, "…").into_owned()).collect()
}

/// The columns that fit, and the room that they leave for notes: `least` if need be, for which figures are left out.
fn fitting(rows: &[&Row], names: &[String], columns: usize, least: usize) -> (Vec<Column>, usize) {
    let text = |head, cell: &dyn Fn(&Row) -> (String, Style), right| {
        let cells = rows.iter().map(|row| cell(row)).collect();
        Column { head, cells, right }
    };
    let plain = |text: String| (text, Style::new());
    let number = |value: Option<String>| plain(value.unwrap_or_else(|| "-".into()));
    let essential = [
        text("STATE", &|row| (row.state.clone(), colour(row.light)), false),
        text("FPS", &|row| plain(format!("{:.1}", row.fps)), true),
        text("STORED", &|row| plain(row.stored.to_string()), true),
        text("LAG", &|row| number(row.lag.map(|lag| lag.to_string())), true),
        text(
            "DROPPED",
            &|row| (row.dropped.to_string(), if row.losing { colour(Light::Red) } else { Style::new() }),
            true,
        ),
    ];
    let name_width = names.iter().map(|name| measure_text_width(name)).max().unwrap_or(0).max("NAME".len());
    let mut left = columns.saturating_sub(name_width.min(SHORT_NAME));
    let wanted = rows.iter().map(|row| measure_text_width(&row.note)).max().unwrap_or(0);
    let mut kept = 0;
    let mut taken: Vec<Column> = vec![];
    for column in essential {
        // No state and no rate are left out for a note, and nothing where there would be no note all the same.
        if taken.len() == 2 && left >= SHORT_NOTE + 2 {
            kept = wanted.min(least) + 2;
        }
        let needed = column.width() + 1;
        if needed + kept > left {
            break;
        }
        left -= needed;
        taken.push(column);
    }
    // A name that is not cut is worth more than a wide note.
    let longer = name_width.saturating_sub(SHORT_NAME).min(left.saturating_sub(kept));
    left -= longer;
    let name_width = name_width.min(SHORT_NAME) + longer;
    let wanted = wanted.min(WIDE_NOTE);
    let whole = taken.len() == 5;
    for (place, column) in [
        (2, text("KB", &|row| (kilobytes(row.bytes), colour(row.size)), true)),
        (3, text("CAPTURED", &|row| number(row.captured.map(|n| n.to_string())), true)),
    ] {
        let needed = column.width() + 1;
        if whole && left >= needed + wanted + 2 {
            left -= needed;
            taken.insert(place, column);
        }
    }
    let cells = shortened(names, name_width).into_iter().map(plain).collect();
    taken.insert(0, Column { head: "NAME", cells, right: false });
    (taken, left.saturating_sub(2))
}

impl Column {
    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|(text, _)| measure_text_width(text));
        cells.chain([self.head.len()]).max().unwrap_or(0)
    }

    /// The head, or a row's cell, as wide as the column.
    fn cell(&self, row: Option<usize>) -> String {
        let (text, style) = match row {
            None => (self.head, Style::new()),
            Some(row) => (self.cells[row].0.as_str(), self.cells[row].1.clone()),
        };
        let pad = " ".repeat(self.width() - measure_text_width(text));
        let text = style.apply_to(text);
        if self.right { format!("{pad}{text}") } else { format!("{text}{pad}") }
    }
}

fn line(columns: &[Column], row: Option<usize>) -> String {
    columns.iter().map(|column| column.cell(row)).collect::<Vec<_>>().join(" ")
}

fn colour(light: Light) -> Style {
    let style = Style::new().for_stderr();
    match light {
        Light::Off => style,
        Light::Green => style.green(),
        Light::Yellow => style.yellow(),
        Light::Red => style.red(),
    }
}

fn bold() -> Style {
    Style::new().for_stderr().bold()
}

fn note_style(row: &Row) -> Style {
    if row.in_trouble() { colour(Light::Red) } else { colour(Light::Off).dim() }
}

fn kilobytes(bytes: u64) -> String {
    if bytes == 0 { "-".into() } else { format!("{:.1}", bytes as f64 / 1000.0) }
}

#[cfg(test)]
mod tests;
