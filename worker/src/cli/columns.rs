//! Tables of text for people: what `check`, `lag` and `topics` print.

/// A table whose columns are as wide as their widest cell; the heads first. Columns of numbers stand at the right.
pub fn table(heads: &[(&str, Side)], rows: &[Vec<String>]) -> String {
    let width = |n: usize, head: &str| {
        let cells = rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count());
        cells.chain([head.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = heads.iter().enumerate().map(|(n, (head, _))| width(n, head)).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(heads.iter().zip(&widths)).map(|(cell, ((_, side), width))| match side {
            Side::Left => format!("{cell:<width$}"),
            Side::Right => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut heads.iter().map(|(head, _)| *head));
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

/// Where a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Side {
    Left,
    Right,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let rows = [vec!["gate".to_owned(), "7".to_owned()], vec!["a-long-name".to_owned(), "12345".to_owned()]];
        let shown = table(&[("TOPIC", Side::Left), ("LAG", Side::Right)], &rows);
        assert_eq!(shown, "TOPIC          LAG\ngate             7\na-long-name  12345\n");
        assert_eq!(table(&[("TOPIC", Side::Left)], &[]), "TOPIC\n");
    }
}
