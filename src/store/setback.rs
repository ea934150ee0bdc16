//! A store that refuses for a while, because its disk is full or fails: what cannot be left undone is asked of it
//! again, ever more seldom, and it is said once when that begins and once when it is over.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::StoreError;

/// The wait after the first refusal; doubled with each one after.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait, jitter aside.
const LONGEST: Duration = Duration::from_secs(15);

/// How often in a row something was refused.
#[derive(Debug, Default)]
pub(crate) struct Setback {
    refusals: u32,
}

impl Setback {
    /// Notes a refusal, and says so if it is the first; how long to wait before the next try.
    ///
    /// Up to a quarter more than the doubled wait, so that those who were refused together do not come back together.
    #[must_use]
    pub(crate) fn refused(&mut self, what: &'static str, error: &StoreError) -> Duration {
        if self.refusals == 0 {
            warn!(%error, "{what}; it is tried again");
        }
        let doubled = FIRST.saturating_mul(1_u32.checked_shl(self.refusals).unwrap_or(u32::MAX));
        self.refusals = self.refusals.saturating_add(1);
        doubled.min(LONGEST).mul_f64(1.0 + fastrand::f64() / 4.0)
    }

    /// Notes that it went well; says so if it did not before.
    pub(crate) fn over(&mut self, what: &'static str) {
        if std::mem::take(&mut self.refusals) > 0 {
            info!("it works again, after: {what}");
        }
    }
}

/// Does something until the store takes it; `what` says that it did not.
///
/// # Errors
/// What no second try would mend, and at `stop` whatever came last.
pub(crate) async fn patiently<T, F>(
    what: &'static str,
    stop: &CancellationToken,
    mut attempt: impl FnMut() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut setback = Setback::default();
    loop {
        let error = match attempt().await {
            Ok(done) => {
                setback.over(what);
                return Ok(done);
            }
            Err(error) if error.may_pass() => error,
            Err(error) => return Err(error),
        };
        let wait = setback.refused(what, &error);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn waits_grow_and_stay_under_the_cap() {
        let mut setback = Setback::default();
        for millis in [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000] {
            let wait = setback.refused("it failed", &StoreError::DiskFull).as_secs_f64();
            let base = f64::from(millis) / 1_000.0;
            assert!((base..=base * 1.25).contains(&wait), "{millis}: {wait}");
        }
        setback.refusals = u32::MAX;
        assert!(setback.refused("it failed", &StoreError::DiskFull) < LONGEST * 2);
        setback.over("it failed");
        assert!(setback.refused("it failed", &StoreError::DiskFull) < FIRST * 2);
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again_and_nothing_else() {
        let (stop, tries) = (&CancellationToken::new(), &Cell::new(0_u32));
        let try_with = |error: StoreError, failures: u32| {
            tries.set(0);
            patiently("it failed", stop, move || {
                let (error, number) = (error.clone(), tries.get() + 1);
                tries.set(number);
                async move { if number > failures { Ok(number) } else { Err(error) } }
            })
        };
        assert_eq!(try_with(StoreError::DiskFull, 2).await.unwrap(), 3);
        let gone = try_with(StoreError::NotThere("run 1".to_owned()), 9).await;
        assert!(matches!(gone, Err(StoreError::NotThere(_))), "{gone:?}");
        let closed = try_with(StoreError::Closed, 9).await;
        assert!(matches!(closed, Err(StoreError::Closed)), "{closed:?}");
        stop.cancel();
        let stopped = try_with(StoreError::DiskFull, u32::MAX).await;
        assert!(matches!(stopped, Err(StoreError::DiskFull)), "{stopped:?}");
    }
}
