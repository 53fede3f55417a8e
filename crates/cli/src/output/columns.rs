//! Text in elastic columns.

use std::fmt;

/// Lines of cells. A cell is padded to the widest of its block: the run of neighbouring lines that have a cell to the
/// right of it, too. The last cell of a line is never padded.
#[derive(Clone, Debug)]
pub struct Columns {
    padding: usize,
    width_min: usize,
    lines: Vec<Vec<String>>,
}

impl Columns {
    /// Columns that are `padding` blanks apart.
    #[must_use]
    pub fn spaced(padding: usize) -> Self {
        Self { padding, width_min: 0, lines: Vec::new() }
    }

    /// Columns for `Label : value` lines: 8 blanks apart, at least 8 wide.
    #[must_use]
    pub fn labelled() -> Self {
        Self { padding: 8, width_min: 8, lines: Vec::new() }
    }

    /// A row of titles, and below it a dash for every letter.
    #[must_use]
    pub fn titled(mut self, titles: &[&str]) -> Self {
        self.lines.push(titles.iter().map(|title| (*title).to_owned()).collect());
        self.lines.push(titles.iter().map(|title| "-".repeat(title.chars().count())).collect());
        self
    }

    /// Adds a line of cells.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.lines.push(cells.into_iter().collect());
    }

    /// Adds `Label : value`.
    pub fn field(&mut self, label: &str, value: impl fmt::Display) {
        self.lines.push(vec![label.to_owned(), format!(": {value}")]);
    }

    /// Adds `Label : value`, unless the value is empty.
    pub fn field_if_any(&mut self, label: &str, value: impl fmt::Display) {
        let value = value.to_string();
        if !value.is_empty() {
            self.field(label, value);
        }
    }

    /// Adds a heading that keeps the block below in line with the block above.
    pub fn section(&mut self, label: &str) {
        self.lines.push(vec![label.to_owned(), String::new()]);
    }

    /// Adds a line that ends the block.
    pub fn line(&mut self, text: impl Into<String>) {
        self.lines.push(vec![text.into()]);
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.lines.iter().map(Vec::len).max().unwrap_or_default();
        let mut widths = vec![vec![0; columns]; self.lines.len()];
        for column in 0..columns {
            let mut start = 0;
            while start < self.lines.len() {
                let block = self.lines[start..].iter().take_while(|cells| cells.len() > column + 1);
                let (count, widest) =
                    block.fold((0, 0), |(count, widest), cells| (count + 1, cells[column].chars().count().max(widest)));
                for row in &mut widths[start..start + count] {
                    row[column] = (widest + self.padding).max(self.width_min);
                }
                start += count.max(1);
            }
        }
        for (cells, widths) in self.lines.iter().zip(&widths) {
            for (cell, width) in cells.iter().zip(widths) {
                // The last cell has width 0.
                write!(f, "{cell:width$}", width = *width)?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_padded_to_the_widest_of_their_block() {
        let mut columns = Columns::spaced(2).titled(&["ID", "Name", "Image"]);
        columns.row(["1".into(), "größer".into(), "a".into()]);
        columns.row(["12345".into(), "b".into(), String::new()]);
        assert_eq!(
            columns.to_string(),
            "ID     Name    Image\n\
             --     ----    -----\n\
             1      größer  a\n\
             12345  b       \n"
        );
    }

    #[test]
    fn a_line_without_cells_ends_the_block() {
        let mut columns = Columns::labelled();
        columns.field("ID", "x");
        columns.section("A long section");
        columns.line("----");
        columns.field("B", "y");
        columns.field_if_any("C", "");
        assert_eq!(columns.to_string(), "ID                    : x\nA long section        \n----\nB        : y\n");
    }
}
