//! How many bytes of answers and tool output a run may still produce.

use std::sync::atomic::{AtomicU64, Ordering};

use protocol::{Failure, FailureKind};

/// A run's budget.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    spent: AtomicU64,
}

impl Budget {
    /// A budget of so many bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, spent: AtomicU64::new(0) }
    }

    /// Takes bytes from it.
    ///
    /// # Errors
    ///
    /// The failure of the run, when the budget is spent.
    pub(crate) fn spend(&self, bytes: usize) -> Result<(), Failure> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let before = self.spent.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= self.limit {
            return Ok(());
        }
        let limit = self.limit;
        Err(Failure {
            kind: FailureKind::Refused,
            message: format!("the agent produced more output than the limit of {limit} bytes"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_to_its_end() {
        let budget = Budget::new(10);
        assert!(budget.spend(10).is_ok() && budget.spend(0).is_ok());
        assert_eq!(budget.spend(1).unwrap_err().kind, FailureKind::Refused);
        assert!(Budget::new(10).spend(usize::MAX).is_err());
    }
}
