//! The certificate authority as a service of the leader.
