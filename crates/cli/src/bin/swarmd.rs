//! Runs a node.

fn main() {}
