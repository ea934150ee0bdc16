//! What a server saw, oldest first, with a bound.

use std::collections::VecDeque;

/// How many entries a log keeps; a server that runs as a program for weeks must not grow.
const KEPT: usize = 100_000;

/// A list that forgets its oldest entries and still counts them.
#[derive(Debug)]
pub struct Log<T> {
    kept: VecDeque<T>,
    forgotten: usize,
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self { kept: VecDeque::new(), forgotten: 0 }
    }
}

impl<T> Log<T> {
    /// Adds an entry; returns its number, counted from 0.
    pub(super) fn push(&mut self, entry: T) -> usize {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
            self.forgotten += 1;
        }
        self.kept.push_back(entry);
        self.total() - 1
    }

    /// The entry of this number, unless it is forgotten.
    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        self.kept.get_mut(number.checked_sub(self.forgotten)?)
    }

    /// The entries that are kept, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.kept.iter()
    }

    /// The newest entry.
    #[must_use]
    pub fn last(&self) -> Option<&T> {
        self.kept.back()
    }

    /// How many entries there were in all.
    #[must_use]
    pub fn total(&self) -> usize {
        self.forgotten + self.kept.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_numbers_stay() {
        let mut log = Log::default();
        for entry in 0..KEPT + 2 {
            assert_eq!(log.push(entry), entry);
        }
        assert_eq!((log.total(), log.iter().count()), (KEPT + 2, KEPT));
        assert_eq!((log.get_mut(1).copied(), log.get_mut(2).copied()), (None, Some(2)));
        assert_eq!(log.last(), Some(&(KEPT + 1)));
    }
}
