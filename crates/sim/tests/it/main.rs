//! The simulator from outside: whole runs in processes of their own.

mod runs;
