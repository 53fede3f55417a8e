//! Expands the placeholders that a task specification may hold.
