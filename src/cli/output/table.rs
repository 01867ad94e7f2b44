//! Text in columns.

use std::fmt::Write as _;
use std::io::IsTerminal;

/// The gap between two columns.
const GAP: &str = "  ";

/// How a cell is highlighted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Not at all.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Worth a look.
    Notable,
    /// Something is wrong.
    Bad,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\x1b[32m",
            Self::Notable => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }
}

/// One cell. Its text is printable ASCII, so that a byte is a column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::toned(text, Tone::Plain)
    }

    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        let text = text.into();
        Self { text, tone }
    }
}

/// A column: its heading, and how wide it may become.
pub(crate) type Column = (&'static str, usize);

/// Rows under headings. The columns are as wide as their contents so far.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    widths: Vec<usize>,
    coloured: bool,
}

impl Table {
    /// An empty table, with colours if they help.
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self::with_colours(columns, colours(&std::io::stdout()))
    }

    fn with_colours(columns: &[Column], coloured: bool) -> Self {
        Self {
            columns: columns.to_vec(),
            widths: columns.iter().map(|(name, _)| name.len()).collect(),
            coloured,
        }
    }

    /// Widens the columns for a row.
    pub(crate) fn fit(&mut self, row: &[Cell]) {
        for ((width, (_, limit)), cell) in self.widths.iter_mut().zip(&self.columns).zip(row) {
            *width = cell.text.len().min(*limit).max(*width);
        }
    }

    /// The headings.
    pub(crate) fn heading(&self) -> String {
        let cells = self.columns.iter().map(|(name, _)| Cell::new(*name));
        self.line(&cells.collect::<Vec<_>>())
    }

    /// One row. A cell that is too long is cut visibly.
    pub(crate) fn line(&self, row: &[Cell]) -> String {
        let mut line = String::new();
        let mut pad = 0;
        for (cell, width) in row.iter().zip(&self.widths) {
            if cell.text.is_empty() {
                pad += width + GAP.len();
                continue;
            }
            let text = cut(&cell.text, *width);
            let (on, off) = match (self.coloured, cell.tone) {
                (true, tone) if tone != Tone::Plain => (tone.code(), "\x1b[0m"),
                _ => ("", ""),
            };
            // Writing to a String cannot fail.
            let _ = write!(line, "{:pad$}{on}{text}{off}", "");
            pad = width - text.len() + GAP.len();
        }
        line
    }
}

/// Headings and rows, as one text.
pub(crate) fn table(columns: &[Column], rows: &[Vec<Cell>]) -> String {
    let mut table = Table::new(columns);
    for row in rows {
        table.fit(row);
    }
    let lines = rows.iter().map(|row| table.line(row));
    let lines = std::iter::once(table.heading()).chain(lines);
    lines.map(|line| line + "\n").collect()
}

fn cut(text: &str, width: usize) -> String {
    if text.len() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(3)).collect();
    kept + "..."
}

/// Colours help on a terminal, unless the user turned them off (<https://no-color.org>).
pub(crate) fn colours(stream: &impl IsTerminal) -> bool {
    let says = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let dumb = says("TERM").is_some_and(|terminal| terminal == "dumb");
    stream.is_terminal() && says("NO_COLOR").is_none() && !dumb
}

/// How long ago something was, in one unit.
pub(crate) fn age(since: jiff::Timestamp) -> String {
    let seconds = since.duration_until(jiff::Timestamp::now()).as_secs();
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
