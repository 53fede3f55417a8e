//! Mutual TLS channels and listeners, who may call what, and forwarding to the leader.
