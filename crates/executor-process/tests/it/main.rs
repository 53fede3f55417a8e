//! Real processes, started and stopped.

mod suite;
