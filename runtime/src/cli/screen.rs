//! The terminal of `edgereel run`: log lines scroll by, and the table stays below them.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use console::{Term, measure_text_width};

/// So many log lines are kept, to be shown again when the terminal has got another size.
const KEPT: usize = 200;

/// A terminal with a table at its end. All clones are the same.
#[derive(Clone)]
pub struct Screen(Arc<Mutex<Inner>>);

struct Inner {
    term: Term,
    view: View,
}

impl Screen {
    /// Standard error, still without a table.
    pub fn stderr() -> Self {
        let term = Term::buffered_stderr();
        let view = View { size: size(&term), ..View::default() };
        Screen(Arc::new(Mutex::new(Inner { term, view })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the table that `make` makes of the terminal's columns and lines.
    pub fn draw(&self, make: impl FnOnce(usize, usize) -> Vec<String>) {
        let mut inner = self.lock();
        let size = size(&inner.term);
        let table = make(size.0, size.1);
        let text = inner.view.show(size, None, table);
        inner.write(&text);
    }

    /// Prints log lines above the table.
    pub fn print(&self, lines: &str) {
        let mut inner = self.lock();
        let size = size(&inner.term);
        // A table that was made for another width is drawn anew in a moment.
        let table = if size == inner.view.size { inner.view.table.clone() } else { vec![] };
        let text = inner.view.show(size, Some(lines), table);
        inner.write(&text);
    }

    /// Takes the table away.
    pub fn close(&self) {
        self.draw(|_, _| vec![]);
    }
}

impl Inner {
    /// A terminal that has gone away must not stop the frames.
    fn write(&self, text: &str) {
        let _ = self.term.write_str(text).and_then(|()| self.term.flush());
    }
}

/// Columns and lines.
fn size(term: &Term) -> (usize, usize) {
    let (lines, columns) = term.size();
    (columns.into(), lines.into())
}

/// What stands on the terminal.
#[derive(Debug, Default)]
struct View {
    size: (usize, usize),
    table: Vec<String>,
    log: VecDeque<String>,
}

impl View {
    /// What is to be written so that `lines` stand above the table, and `table` at the place of the one before.
    ///
    /// Some terminals break lines anew when their width changes and some cut them, so nobody knows where the table stands
    /// then: all of the screen is written anew.
    fn show(&mut self, size: (usize, usize), lines: Option<&str>, table: Vec<String>) -> String {
        let new = lines.into_iter().flat_map(str::lines).map(str::to_owned);
        let before = self.log.len();
        self.log.extend(new);
        let mut text = String::new();
        if size == self.size {
            if !self.table.is_empty() {
                let _ = write!(text, "\r\x1b[{}A", self.table.len());
            }
            text += "\x1b[J";
            self.log.iter().skip(before).for_each(|line| push(&mut text, line));
        } else {
            text += "\x1b[H\x1b[J";
            let fits = last_that_fit(&self.log, size.0, size.1.saturating_sub(table.len() + 1));
            self.log.iter().skip(self.log.len() - fits).for_each(|line| push(&mut text, line));
        }
        table.iter().for_each(|line| push(&mut text, line));
        self.log.drain(..self.log.len().saturating_sub(KEPT));
        (self.size, self.table) = (size, table);
        text
    }
}

fn push(text: &mut String, line: &str) {
    *text += line;
    text.push('\n');
}

/// How many of the last lines fit into so many columns and rows.
fn last_that_fit(lines: &VecDeque<String>, columns: usize, rows: usize) -> usize {
    let taken = lines.iter().rev().scan(0, |taken, line| {
        *taken += measure_text_width(line).div_ceil(columns.max(1)).max(1);
        Some(*taken)
    });
    taken.take_while(|taken| *taken <= rows).count()
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;

    fn some(size: usize) -> NonZero<u16> {
        u16::try_from(size).ok().and_then(NonZero::new).expect("a size")
    }

    fn view(columns: usize, lines: usize) -> (View, vt100::Parser) {
        let terminal = vt100::Parser::new(some(lines), some(columns), 100);
        (View { size: (columns, lines), ..View::default() }, terminal)
    }

    fn write(terminal: &mut vt100::Parser, text: &str) -> Vec<String> {
        // As a terminal's driver does.
        terminal.process(text.replace('\n', "\r\n").as_bytes());
        let (_, columns) = terminal.screen().size();
        let mut rows: Vec<_> = terminal.screen().rows(0, columns.get()).map(|row| row.trim_end().to_owned()).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    fn table(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn log_lines_stand_above_the_table_and_each_draw_takes_the_place_of_the_one_before() {
        let (mut view, mut terminal) = view(20, 8);
        write(&mut terminal, "$ edgereel run\n");
        write(&mut terminal, &view.show((20, 8), Some("starting\n"), vec![]));
        write(&mut terminal, &view.show((20, 8), None, table(&["NAME FPS", "a 1", "b 2"])));
        write(&mut terminal, &view.show((20, 8), Some("a line that is wider than it"), view.table.clone()));
        let seen = write(&mut terminal, &view.show((20, 8), None, table(&["NAME FPS", "a 30"])));
        assert_eq!(seen, ["$ edgereel run", "starting", "a line that is wider", " than it", "NAME FPS", "a 30"]);
        let seen = write(&mut terminal, &view.show((20, 8), None, vec![]));
        assert_eq!(seen.last().map(String::as_str), Some(" than it"), "and it can be taken away");
    }

    #[test]
    fn another_size_leaves_no_debris() {
        let (mut view, mut terminal) = view(30, 10);
        write(&mut terminal, &view.show((30, 10), Some("one\ntwo\nthree"), table(&["NAME FPS STORED", "camera 1 1"])));
        for (columns, lines) in [(12, 6), (40, 5), (9, 12), (30, 10)] {
            terminal.screen_mut().set_size(some(lines), some(columns));
            write(&mut terminal, &view.show((columns, lines), Some("four"), vec![]));
            let seen = write(&mut terminal, &view.show((columns, lines), None, table(&["NAME", "camera"])));
            assert_eq!(seen[seen.len() - 3..], ["four", "NAME", "camera"]);
            assert_eq!(seen.iter().filter(|line| line.contains("NAME") || line.contains("camera")).count(), 2);
            assert!(seen.len() < lines, "{seen:?}");
        }
    }
}
