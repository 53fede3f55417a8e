//! The thin composition: identity, join, renewal, manager and agent side by side.
