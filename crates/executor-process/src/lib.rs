//! Runs tasks as plain processes of the machine.
