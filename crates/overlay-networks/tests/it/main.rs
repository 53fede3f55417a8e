//! The provider under the allocator that it is made for.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod histories;
mod stories;
