//! The text of an id: in place when it is as short as ids are, so that reading, comparing and copying one follows no
//! pointer and counts no reference.

use std::{cmp::Ordering, sync::Arc};

/// The most bytes that are kept in place. Ids made by a cluster have 25; this is what fits beside a length in the 32 bytes
/// that those take anyway.
const INLINE: usize = 30;

/// Text that never changes. Orders and compares as `str` does.
#[derive(Clone)]
pub(super) enum Text {
    /// Padded with zeros, which come before everything in the order of bytes.
    Short {
        len: u8,
        bytes: [u8; INLINE],
    },
    Long(Arc<str>),
}

impl Text {
    pub(super) fn new(text: &str) -> Self {
        match u8::try_from(text.len()) {
            Ok(len) if text.len() <= INLINE => {
                let mut bytes = [0; INLINE];
                bytes[..text.len()].copy_from_slice(text.as_bytes());
                Self::Short { len, bytes }
            }
            _ => Self::Long(text.into()),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Short { .. } => {
                str::from_utf8(self.as_bytes()).expect("invariant: these bytes were copied from text")
            }
            Self::Long(text) => text,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len).min(INLINE)],
            Self::Long(text) => text.as_bytes(),
        }
    }
}

/// A part of the bytes as a number that orders as they do.
fn word<const AT: usize>(bytes: &[u8; INLINE]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[AT..AT + 8]);
    u64::from_be_bytes(word)
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Short { len: a, bytes: x }, Self::Short { len: b, bytes: y }) => {
                // Ids are random, so the first word nearly always decides. The last two overlap; what they have in
                // common is equal by then.
                (word::<0>(x).cmp(&word::<0>(y)))
                    .then_with(|| word::<8>(x).cmp(&word::<8>(y)))
                    .then_with(|| word::<16>(x).cmp(&word::<16>(y)))
                    .then_with(|| word::<{ INLINE - 8 }>(x).cmp(&word::<{ INLINE - 8 }>(y)))
                    .then_with(|| a.cmp(b))
            }
            _ => self.as_bytes().cmp(other.as_bytes()),
        }
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Short { len: a, bytes: x }, Self::Short { len: b, bytes: y }) => a == b && x == y,
            // The length decides which of the two a text is.
            (Self::Long(a), Self::Long(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Text {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts around the limits of words and of what fits in place, each before the next.
    fn ascending() -> Vec<String> {
        let mut texts: Vec<String> = vec![String::new(), "\0".into(), "\0\0".into(), "é".into(), "日本".into()];
        for len in [1, 7, 8, 9, 15, 16, 21, 22, 23, 24, 25, 29, 30, 31, 32, 100] {
            texts.push("a".repeat(len));
            texts.push("a".repeat(len - 1) + "b");
            texts.push("a".repeat(len) + "\0");
        }
        texts.sort();
        texts.dedup();
        texts
    }

    #[test]
    fn texts_of_every_length_read_compare_and_order_as_str_does() {
        let texts = ascending();
        for a in &texts {
            assert_eq!(Text::new(a).as_str(), a);
            for b in &texts {
                let (x, y) = (Text::new(a), Text::new(b));
                assert_eq!(x.cmp(&y), a.as_str().cmp(b), "{a:?} {b:?}");
                assert_eq!(x == y, a == b, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn what_fits_in_place_is_in_place_and_costs_no_more_room_than_needed() {
        assert!(matches!(Text::new(&"x".repeat(INLINE)), Text::Short { .. }));
        assert!(matches!(Text::new(&"x".repeat(INLINE + 1)), Text::Long(_)));
        assert_eq!(size_of::<Text>(), 32);
        assert_eq!(size_of::<Option<Text>>(), 32);
    }
}
