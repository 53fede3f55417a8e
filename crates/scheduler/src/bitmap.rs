//! Sets of nodes, as one bit per node.

/// A set of small numbers. A second, coarser row of bits says which words have any, so that a search passes over what is
/// empty 4096 numbers at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
    /// One bit for each word that is not zero.
    summary: Vec<u64>,
    len: usize,
}

const BITS: usize = u64::BITS as usize;

impl Bitmap {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn contains(&self, bit: usize) -> bool {
        self.word(bit / BITS) & (1 << (bit % BITS)) != 0
    }

    /// Adds a number, and says whether it is new.
    pub(crate) fn insert(&mut self, bit: usize) -> bool {
        let word = bit / BITS;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
            self.summary.resize(word / BITS + 1, 0);
        }
        let before = self.words[word];
        self.words[word] |= 1 << (bit % BITS);
        self.summary[word / BITS] |= 1 << (word % BITS);
        let is_new = self.words[word] != before;
        self.len += usize::from(is_new);
        is_new
    }

    /// Takes a number out, and says whether it was there.
    pub(crate) fn remove(&mut self, bit: usize) -> bool {
        if !self.contains(bit) {
            return false;
        }
        let word = bit / BITS;
        self.words[word] &= !(1 << (bit % BITS));
        if self.words[word] == 0 {
            self.summary[word / BITS] &= !(1 << (word % BITS));
        }
        self.len -= 1;
        true
    }

    /// Adds all numbers of another set.
    pub(crate) fn extend(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
            self.summary.resize(other.summary.len(), 0);
        }
        for (word, its) in self.words.iter_mut().zip(&other.words) {
            self.len += (its & !*word).count_ones() as usize;
            *word |= its;
        }
        self.summary.iter_mut().zip(&other.summary).for_each(|(block, its)| *block |= its);
    }

    /// The numbers, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let mut from = 0;
        std::iter::from_fn(move || {
            let bit = first_common(&[self], &[], from)?;
            from = bit + 1;
            Some(bit)
        })
    }

    fn word(&self, word: usize) -> u64 {
        self.words.get(word).copied().unwrap_or(0)
    }
}

impl FromIterator<usize> for Bitmap {
    fn from_iter<I: IntoIterator<Item = usize>>(bits: I) -> Self {
        let mut all = Self::default();
        for bit in bits {
            all.insert(bit);
        }
        all
    }
}

/// The first number from `from` on that is in every set of `all` and in none of `none`. There must be a set in `all`.
pub(crate) fn first_common(all: &[&Bitmap], none: &[&Bitmap], from: usize) -> Option<usize> {
    let mut word = from / BITS;
    let mut keep = u64::MAX << (from % BITS);
    loop {
        let next = next_word(all, word)?;
        if next != word {
            (word, keep) = (next, u64::MAX);
        }
        let common = all.iter().fold(keep, |common, set| common & set.word(word));
        let common = none.iter().fold(common, |common, set| common & !set.word(word));
        if common != 0 {
            return Some(word * BITS + common.trailing_zeros() as usize);
        }
        (word, keep) = (word + 1, u64::MAX);
    }
}

/// The first word from `word` on that is zero in none of the sets.
fn next_word(all: &[&Bitmap], word: usize) -> Option<usize> {
    let mut block = word / BITS;
    let mut keep = u64::MAX << (word % BITS);
    loop {
        let mut common = keep;
        for set in all {
            common &= *set.summary.get(block)?;
        }
        if common != 0 {
            return Some(block * BITS + common.trailing_zeros() as usize);
        }
        (block, keep) = (block + 1, u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_come_and_go_and_are_counted() {
        let mut set = Bitmap::default();
        assert!(set.is_empty() && !set.contains(5000) && !set.remove(5000));
        assert!(set.insert(5000) && !set.insert(5000) && set.insert(3));
        assert_eq!((set.len(), set.iter().collect::<Vec<_>>()), (2, vec![3, 5000]));
        assert!(set.remove(5000));
        assert_eq!(set.iter().collect::<Vec<_>>(), [3]);
    }

    proptest! {
        #[test]
        fn a_search_finds_what_plain_sets_find(
            sets in prop::collection::vec(prop::collection::btree_set(0_usize..10_000, 0..400), 3),
            dense in prop::collection::btree_set(0_usize..200, 0..200),
            from in 0_usize..10_100,
        ) {
            let bitmaps: Vec<Bitmap> = sets.iter().map(|set| set.union(&dense).copied().collect()).collect();
            let plain: Vec<BTreeSet<usize>> = sets.iter().map(|set| set.union(&dense).copied().collect()).collect();
            let few: Bitmap = sets[2].iter().copied().collect();
            let mut both = bitmaps[0].clone();
            both.extend(&bitmaps[1]);
            let union: BTreeSet<usize> = plain[0].union(&plain[1]).copied().collect();
            prop_assert_eq!((both.len(), both.iter().collect::<BTreeSet<_>>()), (union.len(), union.clone()));
            prop_assert_eq!(first_common(&[&both], &[], from), union.range(from..).next().copied());
            let expected = plain[0].range(from..).find(|bit| plain[1].contains(bit) && !sets[2].contains(bit));
            prop_assert_eq!(first_common(&[&bitmaps[0], &bitmaps[1]], &[&few], from), expected.copied());
        }
    }
}
