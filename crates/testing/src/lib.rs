//! Builders and loopback clusters for tests.
