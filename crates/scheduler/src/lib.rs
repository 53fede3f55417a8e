//! Decides which node runs which task.
