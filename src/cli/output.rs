//! Words, tables and JSON on standard output.

use std::fmt::{Display, Formatter, Result as FmtResult};
use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::model::Usage;

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
pub(crate) fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> io::Result<()> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().try_for_each(|text| line(text.trim_end()))
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

/// Money, from millionths of a dollar.
pub(crate) fn dollars(micros: u64) -> String {
    format!("${}.{:04}", micros / 1_000_000, micros % 1_000_000 / 100)
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
        let (requests, output) = (self.requests, self.output_tokens);
        let cost = dollars(self.cost_micros);
        write!(f, "{requests} requests, {input} tokens in, {output} out, {cost}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_dollars_with_what_a_short_answer_costs() {
        for (micros, shown) in [(0, "$0.0000"), (1_500_000, "$1.5000"), (123, "$0.0001")] {
            assert_eq!(dollars(micros), shown);
        }
    }
}
