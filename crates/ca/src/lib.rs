//! Certificates, join tokens, key files and TLS settings of a cluster.
