//! The binaries: swarmd and swarmctl.
