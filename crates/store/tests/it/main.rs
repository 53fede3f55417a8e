//! The store as its users and its proposers see it.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod concurrency;
mod conformance;
mod digests;
mod find;
mod journal;
mod pipeline;
mod rules;
mod snapshots;
mod support;
mod transactions;
mod watches;
