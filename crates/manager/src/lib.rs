//! The leader term and the services that every manager serves.
