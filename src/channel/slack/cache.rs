//! What Slack was asked for and need not be asked again for a while.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Values that are good for a while, at most so many of them.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    most: usize,
    good_for: Duration,
    kept: HashMap<K, (Instant, V)>,
}

impl<K: Eq + Hash + Clone, V> Cache<K, V> {
    /// A cache for at least one value.
    pub(crate) fn new(most: usize, good_for: Duration) -> Self {
        Self { most: most.max(1), good_for, kept: HashMap::new() }
    }

    /// What is known at a time, if it is not too old.
    pub(crate) fn get(&self, key: &K, now: Instant) -> Option<&V> {
        self.get_within(key, self.good_for, now)
    }

    /// What is known at a time, if it is not older than this.
    pub(crate) fn get_within(&self, key: &K, age: Duration, now: Instant) -> Option<&V> {
        let (since, value) = self.kept.get(key)?;
        (now.saturating_duration_since(*since) < age).then_some(value)
    }

    /// Keeps what was learned at a time; what is oldest makes room for it.
    pub(crate) fn put(&mut self, key: K, value: V, now: Instant) {
        if self.kept.len() >= self.most && !self.kept.contains_key(&key) {
            let good_for = self.good_for;
            self.kept.retain(|_, (since, _)| now.saturating_duration_since(*since) < good_for);
        }
        // Beside a call over the network a walk over what is kept is nothing.
        while self.kept.len() >= self.most && !self.kept.contains_key(&key) {
            let oldest = self.kept.iter().min_by_key(|(_, (since, _))| *since);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            self.kept.remove(&oldest);
        }
        self.kept.insert(key, (now, value));
    }

    /// Forgets what is known.
    pub(crate) fn forget(&mut self, key: &K) {
        self.kept.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn values_age_and_the_oldest_makes_room() {
        let start = Instant::now();
        let at = |seconds: u32| start + SECOND * seconds;
        let mut cache = Cache::new(2, SECOND * 10);
        cache.put("a", 1, at(0));
        cache.put("b", 2, at(1));
        assert_eq!(cache.get(&"a", at(9)), Some(&1));
        assert_eq!(cache.get(&"a", at(10)), None);
        assert_eq!(cache.get_within(&"a", SECOND * 20, at(19)), Some(&1));
        assert_eq!(cache.get_within(&"a", SECOND * 20, at(20)), None);
        cache.put("a", 3, at(2));
        cache.put("c", 4, at(3));
        assert_eq!((cache.get(&"a", at(3)), cache.get(&"b", at(3))), (Some(&3), None));
        cache.forget(&"a");
        assert_eq!((cache.get(&"a", at(3)), cache.get(&"c", at(3))), (None, Some(&4)));
    }

    proptest! {
        #[test]
        fn there_are_never_too_many(puts in proptest::collection::vec((0u8..9, 0u32..30), 0..60), most in 1usize..5) {
            let start = Instant::now();
            let mut cache = Cache::new(most, SECOND * 10);
            for (key, seconds) in puts {
                let now = start + SECOND * seconds;
                cache.put(key, seconds, now);
                prop_assert_eq!(cache.get(&key, now), Some(&seconds));
                prop_assert!(cache.kept.len() <= most);
            }
        }
    }
}
