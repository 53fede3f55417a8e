//! Sessions, heartbeats and assignments: how the leader talks to agents.
