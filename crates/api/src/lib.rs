//! The wire of `docker.swarmkit.v1` and the ten objects a cluster is made of.
