//! The report: one row per figure, with its floor and its bound.

use std::fmt;

use serde_json::{Value, json};

/// Rows, and how busy the machine was.
pub(crate) struct Table {
    rows: Vec<Row>,
    load: [String; 2],
    cold: Option<f64>,
}

/// One figure.
pub(crate) struct Row {
    /// The letter and what is measured.
    pub(crate) name: String,
    /// The figure, in `unit`.
    pub(crate) figure: f64,
    /// What it is measured in.
    pub(crate) unit: &'static str,
    /// The floor beside it, in the same unit.
    pub(crate) floor: Option<f64>,
    /// What is held against the bound: the figure itself, or its ratio to the floor.
    pub(crate) bound: Bound,
    /// Sample counts, percentiles, and how many samples were forced on a busy machine.
    pub(crate) note: String,
}

/// What must hold.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// The figure is at most this.
    AtMost(f64),
    /// The figure is at most this many times the floor.
    TimesFloor(f64),
    /// The figure is at least this share of the floor.
    ShareOfFloor(f64),
    /// Told for comparison only.
    None,
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.floor.map(|floor| self.figure / floor)
    }

    fn holds(&self) -> bool {
        match (self.bound, self.ratio()) {
            (Bound::AtMost(most), _) => self.figure <= most,
            (Bound::TimesFloor(times), Some(ratio)) => ratio <= times,
            (Bound::ShareOfFloor(share), Some(ratio)) => ratio >= share,
            (Bound::None, _) => true,
            (Bound::TimesFloor(_) | Bound::ShareOfFloor(_), None) => false,
        }
    }
}

impl Table {
    /// An empty table, of a machine that is this busy now.
    pub(crate) fn begin() -> std::io::Result<Self> {
        Ok(Self { rows: Vec::new(), load: [load()?, String::new()], cold: None })
    }

    /// Notes how busy the machine is at the end.
    pub(crate) fn end(&mut self) -> std::io::Result<()> {
        self.load[1] = load()?;
        Ok(())
    }

    /// Notes how many milliseconds a bare sandbox of the daemonless kind takes, the floor of other rows.
    pub(crate) fn note_cold(&mut self, floor: f64) {
        self.cold = Some(floor);
    }

    /// How many bare sandboxes could be made in a second, one after the other, if that was measured.
    pub(crate) fn bare_rate(&self) -> Option<f64> {
        self.cold.map(|floor| 1e3 / floor)
    }

    /// Adds a row, and says on standard error that it is there.
    pub(crate) fn add(&mut self, row: Row) {
        #[expect(clippy::print_stderr, reason = "a person waits for minutes")]
        {
            eprintln!("{}", line(&row));
        }
        self.rows.push(row);
    }

    /// Whether every bound was kept.
    pub(crate) fn all_held(&self) -> bool {
        self.rows.iter().all(Row::holds)
    }

    /// The table for programs.
    pub(crate) fn json(&self) -> Value {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.name,
                    "figure": row.figure,
                    "unit": row.unit,
                    "floor": row.floor,
                    "ratio": row.ratio(),
                    "bound": row.bound.to_string(),
                    "held": row.holds(),
                    "note": row.note,
                })
            })
            .collect();
        json!({ "rows": rows, "load_before": self.load[0], "load_after": self.load[1] })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            writeln!(f, "{}", line(row))?;
        }
        write!(f, "load average {} before, {} after", self.load[0], self.load[1])
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::TimesFloor(times) => write!(f, "<= {times} x floor"),
            Self::ShareOfFloor(share) => write!(f, ">= {share} x floor"),
            Self::None => f.write_str("-"),
        }
    }
}

fn line(row: &Row) -> String {
    let floor = row.floor.map_or_else(|| "-".to_owned(), |floor| format!("{floor:.3}"));
    let ratio = row.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    let held = match (row.bound, row.holds()) {
        (Bound::None, _) => "told",
        (_, true) => "held",
        (_, false) => "MISSED",
    };
    let (figure, bound) = (format!("{:.3} {}", row.figure, row.unit), row.bound.to_string());
    format!(
        "{:<44} {figure:>16}  floor {floor:>10}  ratio {ratio:>6}  {bound:<14} {held:<6}  {}",
        row.name, row.note
    )
}

/// The load averages of the last 1, 5 and 15 minutes.
fn load() -> std::io::Result<String> {
    let all = std::fs::read_to_string("/proc/loadavg")?;
    Ok(all.split(' ').take(3).collect::<Vec<_>>().join(" "))
}
