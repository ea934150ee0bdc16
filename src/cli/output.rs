//! Words, tables and JSON on standard output.

use std::fmt::{Display, Formatter, Result as FmtResult};
use std::io::{self, Write};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::model::Usage;
use crate::text::{count, dollars};

/// The spaces between two columns.
const GAP: u16 = 2;

/// Writes one line.
///
/// # Errors
/// When nobody reads any more.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Writes a value as indented JSON.
///
/// # Errors
/// When nobody reads any more.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// Writes a value as JSON on one line, for streams.
///
/// # Errors
/// When nobody reads any more.
pub(crate) fn json_line(value: &impl Serialize) -> io::Result<()> {
    line(serde_json::to_string(value)?)
}

/// Writes rows under a header, in columns.
///
/// # Errors
/// When nobody reads any more.
pub(crate) fn table<const N: usize>(
    header: [&'static str; N],
    rows: Vec<[String; N]>,
) -> io::Result<()> {
    let mut columns = Columns::new(header);
    columns.lines(rows).iter().try_for_each(line)
}

/// Columns whose rows come one after another; a column becomes wider when it has to, and never narrower.
pub(crate) struct Columns<const N: usize> {
    header: Option<[&'static str; N]>,
    widths: [u16; N],
}

impl<const N: usize> Columns<N> {
    /// Columns with this header and no rows yet.
    pub(crate) fn new(header: [&'static str; N]) -> Self {
        Self { header: Some(header), widths: [0; N] }
    }

    /// With columns that are at least so wide.
    pub(crate) fn at_least(mut self, widths: [u16; N]) -> Self {
        self.widths = widths;
        self
    }

    /// The next rows as lines; the header stands above the first ones.
    pub(crate) fn lines(&mut self, rows: Vec<[String; N]>) -> Vec<String> {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.add_rows(self.header.take().map(|header| header.map(str::to_owned)));
        table.add_rows(rows);
        for (width, widest) in self.widths.iter_mut().zip(table.column_max_content_widths()) {
            *width = widest.max(*width);
        }
        for (column, width) in table.column_iter_mut().zip(self.widths) {
            column.set_padding((0, GAP));
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width + GAP)));
        }
        table.lines().map(|text| text.trim_end().to_owned()).collect()
    }
}

/// A sentence beside the output, on standard error.
pub(crate) fn aside(text: impl Display) {
    let told = writeln!(io::stderr(), "hermitcrab: {text}");
    // Where nobody reads standard error either, there is nobody left to tell.
    drop(told);
}

/// A time for people, in their zone.
pub(crate) fn time(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// What model calls cost, as every listing shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Spending {
    requests: u64,
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_write_tokens: u64,
    cost_micros: u64,
}

impl From<Usage> for Spending {
    fn from(usage: Usage) -> Self {
        Self {
            requests: usage.requests,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cache_read_tokens: usage.cache_read_tokens,
            cache_write_tokens: usage.cache_write_tokens,
            cost_micros: usage.cost_micros,
        }
    }
}

impl Display for Spending {
    fn fmt(&self, f: &mut Formatter<'_>) -> FmtResult {
        let input = self.input_tokens + self.cache_read_tokens + self.cache_write_tokens;
        let requests = count(self.requests, "request", "requests");
        let (input, output) = (count(input, "token", "tokens"), self.output_tokens);
        write!(f, "{requests}, {input} in, {output} out, {}", dollars(self.cost_micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_spent_is_told_in_words() {
        let usage = Usage { requests: 1, input_tokens: 1, output_tokens: 9, ..Usage::default() };
        assert_eq!(Spending::from(usage).to_string(), "1 request, 1 token in, 9 out, $0.00");
    }

    #[test]
    fn rows_that_come_later_stand_below_the_earlier_ones() {
        let mut columns = Columns::new(["ID", "NAME", "X"]).at_least([0, 6, 0]);
        let row = |row: [&str; 3]| row.map(str::to_owned);
        let first = columns.lines(vec![row(["1", "José", "a"]), row(["10", "日本", ""])]);
        assert_eq!(first, ["ID  NAME    X", "1   José    a", "10  日本"]);
        assert_eq!(columns.lines(vec![row(["2", "b", "c"])]), ["2   b       c"]);
        assert_eq!(columns.lines(vec![row(["100", "b", "c"])]), ["100  b       c"]);
        assert_eq!(columns.lines(vec![row(["2", "b", "c"])]), ["2    b       c"]);
        assert_eq!(columns.lines(Vec::new()), [""; 0]);
    }
}
