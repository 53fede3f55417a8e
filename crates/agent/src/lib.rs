//! Runs a node's tasks: session with the dispatcher, worker, reporter, task database.
