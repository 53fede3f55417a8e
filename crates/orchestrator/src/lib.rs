//! Turns services into tasks and keeps them as the specification says.
