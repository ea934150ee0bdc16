//! Clocks, quiet moments, and what samples come to.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the processors must have been idle before a sample.
const QUIET: Duration = Duration::from_millis(150);
/// How idle, in hundredths.
const IDLE_PERCENT: u64 = 70;
/// How long a sample waits for that, and how long all samples of a figure do; after that they are forced.
const PATIENCE: Duration = Duration::from_secs(12);
const PATIENCE_OF_ALL: Duration = Duration::from_secs(90);

/// Nanoseconds since 1970, by the clock that the agent-runner reports by.
#[expect(clippy::disallowed_methods, reason = "the benchmark has no other clock to read")]
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Waits for quiet moments, and counts how often there was none.
#[derive(Default)]
pub(crate) struct Gate {
    waited: Duration,
    taken: u32,
    forced: u32,
}

impl Gate {
    /// Returns when the processors have been idle for a moment, or patience is over.
    pub(crate) async fn quiet(&mut self) -> std::io::Result<()> {
        self.taken += 1;
        let begun = Instant::now();
        let patience = PATIENCE.min(PATIENCE_OF_ALL.saturating_sub(self.waited));
        let mut forced = true;
        while begun.elapsed() < patience {
            let before = processors()?;
            tokio::time::sleep(QUIET).await;
            let after = processors()?;
            let (idle, all) = (after.0 - before.0, after.1 - before.1);
            if idle * 100 >= all * IDLE_PERCENT {
                forced = false;
                break;
            }
        }
        self.waited += begun.elapsed();
        self.forced += u32::from(forced);
        Ok(())
    }

    /// How many samples were forced.
    pub(crate) fn told(&self) -> String {
        format!("{} of {} gates forced", self.forced, self.taken)
    }
}

/// Idle and all ticks of the processors.
fn processors() -> std::io::Result<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let first = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> =
        first.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    Ok((ticks.get(3).copied().unwrap_or(0), ticks.iter().take(8).sum()))
}

/// Samples of one figure.
#[derive(Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Adds one.
    pub(crate) fn add(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The middle one.
    pub(crate) fn median(&self) -> f64 {
        self.percentile(50)
    }

    /// The one that this many hundredths of all do not exceed; not a number when there is none.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted.get((last * percent).div_ceil(100)).copied().unwrap_or(f64::NAN)
    }
}

/// Milliseconds between two readings of [`now`]; not a number when the clock was set back between them.
pub(crate) fn millis(from: u64, to: u64) -> f64 {
    to.checked_sub(from).map_or(f64::NAN, |nanos| Duration::from_nanos(nanos).as_secs_f64() * 1e3)
}

/// Resident memory of a process in MiB.
pub(crate) fn resident(process: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let words = line.unwrap_or_default().split_whitespace().next().unwrap_or_default();
    Ok(words.parse::<f64>()? / 1024.0)
}
