//! The position of a write in the history of a store.

use std::fmt;

use crate::wire;

/// A position in the history of a store: it grows by one with every committed change set.
///
/// An object carries the version of the state that its last write was built on, so that an update made from an older
/// reading can be refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// The version of a store in which nothing was ever written.
    pub const EMPTY: Self = Self(1);

    /// The version after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<wire::Version> for Version {
    fn from(version: wire::Version) -> Self {
        Self(version.index)
    }
}

impl From<Version> for wire::Version {
    fn from(version: Version) -> Self {
        Self { index: version.0 }
    }
}
