//! A set of slot numbers, kept as runs: a service that is whole is one run, however many slots it has.

use std::{collections::BTreeMap, iter};

/// A set of numbers. What it costs to change it, and to find the lowest number that is not in it, depends on how many
/// gaps there are, not on how many numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// The first number of each run, and the last. Between two runs at least one number is missing.
    runs: BTreeMap<u64, u64>,
    len: usize,
}

impl Numbers {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.run_at(number).is_some()
    }

    /// Puts a number in, unless it is there.
    fn insert(&mut self, number: u64) {
        if self.contains(number) {
            return;
        }
        let last = number.checked_add(1).and_then(|next| self.runs.remove(&next)).unwrap_or(number);
        let first = number.checked_sub(1).and_then(|before| self.run_at(before)).map_or(number, |(first, _)| first);
        self.runs.insert(first, last);
        self.len += 1;
    }

    /// Takes a number out, if it is there.
    fn remove(&mut self, number: u64) {
        let Some((first, last)) = self.run_at(number) else { return };
        self.runs.remove(&first);
        if first < number {
            self.runs.insert(first, number - 1);
        }
        if number < last {
            self.runs.insert(number + 1, last);
        }
        self.len -= 1;
    }

    /// Puts a number in, or takes it out.
    pub(crate) fn set(&mut self, number: u64, belongs: bool) {
        if belongs {
            self.insert(number);
        } else {
            self.remove(number);
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The numbers from `first` on that are not in the set, in ascending order.
    pub(crate) fn missing(&self, first: u64) -> impl Iterator<Item = u64> {
        let mut runs = self.runs.iter().map(|(first, last)| (*first, *last)).peekable();
        let mut next = Some(first);
        iter::from_fn(move || {
            while let (Some(number), Some((_, last))) = (next, runs.next_if(|(first, _)| next >= Some(*first))) {
                next = last.checked_add(1).map(|after| after.max(number));
            }
            let number = next?;
            next = number.checked_add(1);
            Some(number)
        })
    }

    /// The run that a number is in.
    fn run_at(&self, number: u64) -> Option<(u64, u64)> {
        let (first, last) = self.runs.range(..=number).next_back()?;
        (number <= *last).then_some((*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_the_range_are_numbers_like_others() {
        let mut numbers = Numbers::default();
        for number in [u64::MAX, 0, u64::MAX - 1, 1] {
            numbers.insert(number);
        }
        assert_eq!((numbers.len(), numbers.runs.len()), (4, 2));
        assert_eq!(numbers.missing(0).next(), Some(2));
        assert_eq!(numbers.missing(u64::MAX - 1).next(), None);
        numbers.remove(u64::MAX);
        assert_eq!(numbers.missing(u64::MAX - 1).collect::<Vec<_>>(), [u64::MAX]);
    }

    #[test]
    fn a_hundred_thousand_numbers_without_a_gap_are_one_run() {
        let mut numbers = Numbers::default();
        (1..=100_000).rev().for_each(|number| numbers.insert(number));
        assert_eq!(numbers.runs.len(), 1);
        numbers.remove(50_000);
        assert_eq!(numbers.runs.len(), 2);
        assert_eq!(numbers.missing(1).take(2).collect::<Vec<_>>(), [50_000, 100_001]);
    }

    proptest! {
        #[test]
        fn it_is_the_set_that_it_seems_to_be(edits in prop::collection::vec((any::<bool>(), 0..20_u64), 0..100), first in 0..25_u64) {
            let (mut numbers, mut model) = (Numbers::default(), BTreeSet::new());
            for (insert, number) in edits {
                if insert {
                    numbers.insert(number);
                    model.insert(number);
                } else {
                    numbers.remove(number);
                    model.remove(&number);
                }
                prop_assert_eq!(numbers.len(), model.len());
                prop_assert!((0..22).all(|number| numbers.contains(number) == model.contains(&number)));
                let missing: Vec<_> = (first..).filter(|number| !model.contains(number)).take(25).collect();
                prop_assert_eq!(numbers.missing(first).take(25).collect::<Vec<_>>(), missing);
                let runs: Vec<_> = numbers.runs.iter().collect();
                prop_assert!(runs.windows(2).all(|pair| pair[0].1 + 1 < *pair[1].0), "runs that touch are one");
            }
        }
    }
}
