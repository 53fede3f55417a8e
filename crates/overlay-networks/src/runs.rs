//! Sets of numbers that are kept as runs: a hundred thousand addresses in a row cost as much as one.

use std::collections::BTreeMap;

/// A set of numbers. Every operation costs the logarithm of the number of its runs, which is at most that of its numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    /// The last number of each run, by its first. No two runs touch.
    runs: BTreeMap<u128, u128>,
}

impl Runs {
    pub(crate) fn contains(&self, number: u128) -> bool {
        self.run_of(number).is_some()
    }

    /// Adds a number. Gives whether it was not there.
    pub(crate) fn insert(&mut self, number: u128) -> bool {
        if self.contains(number) {
            return false;
        }
        let before = number.checked_sub(1).and_then(|before| self.run_of(before));
        let after = number.checked_add(1).and_then(|after| Some((after, *self.runs.get(&after)?)));
        let first = before.map_or(number, |(first, _)| first);
        let last = match after {
            Some((first, last)) => {
                self.runs.remove(&first);
                last
            }
            None => number,
        };
        self.runs.insert(first, last);
        true
    }

    /// Takes a number out. Gives whether it was there.
    pub(crate) fn remove(&mut self, number: u128) -> bool {
        let Some((first, last)) = self.run_of(number) else { return false };
        self.runs.remove(&first);
        if first < number {
            self.runs.insert(first, number - 1);
        }
        if number < last {
            self.runs.insert(number + 1, last);
        }
        true
    }

    /// The lowest number from `first` to `last` that is not in the set.
    pub(crate) fn next_free(&self, first: u128, last: u128) -> Option<u128> {
        let free = match self.run_of(first) {
            Some((_, end)) => end.checked_add(1)?,
            None => first,
        };
        (free <= last).then_some(free)
    }

    /// The same, but the search begins at `from` and goes on at `first` when it has come to the end.
    pub(crate) fn next_free_around(&self, from: u128, first: u128, last: u128) -> Option<u128> {
        let from = if (first..=last).contains(&from) { from } else { first };
        self.next_free(from, last).or_else(|| self.next_free(first, from.checked_sub(1)?))
    }

    fn run_of(&self, number: u128) -> Option<(u128, u128)> {
        let (&first, &last) = self.runs.range(..=number).next_back()?;
        (number <= last).then_some((first, last))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_all_numbers_are_numbers_too() {
        let mut runs = Runs::default();
        for number in [0, u128::MAX, 1, u128::MAX - 1] {
            assert!(runs.insert(number) && !runs.insert(number));
        }
        assert_eq!(runs.next_free(u128::MAX - 1, u128::MAX), None);
        assert_eq!(runs.next_free_around(u128::MAX, 0, u128::MAX), Some(2));
        assert!(runs.remove(u128::MAX) && !runs.remove(u128::MAX) && runs.remove(0));
        assert_eq!((runs.contains(0), runs.contains(1)), (false, true));
    }

    proptest! {
        #[test]
        fn runs_are_a_set_of_numbers(
            changes in proptest::collection::vec((any::<bool>(), 0_u128..24), 0..60),
            (from, first, length) in (0_u128..24, 0_u128..24, 0_u128..12),
        ) {
            let (mut runs, mut set) = (Runs::default(), BTreeSet::new());
            for (add, number) in changes {
                if add {
                    prop_assert_eq!(runs.insert(number), set.insert(number));
                } else {
                    prop_assert_eq!(runs.remove(number), set.remove(&number));
                }
            }
            for number in 0..26 {
                prop_assert_eq!(runs.contains(number), set.contains(&number));
            }
            let touching = runs.runs.iter().zip(runs.runs.keys().skip(1)).any(|((_, last), next)| last + 1 >= *next);
            prop_assert!(!touching, "{:?}", runs);

            let last = first + length;
            let free = |mut numbers: std::ops::RangeInclusive<u128>| numbers.find(|number| !set.contains(number));
            prop_assert_eq!(runs.next_free(first, last), free(first..=last));
            let from = if (first..=last).contains(&from) { from } else { first };
            let around = free(from..=last).or_else(|| free(first..=last));
            prop_assert_eq!(runs.next_free_around(from, first, last), around);
        }
    }
}
