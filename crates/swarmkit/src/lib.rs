//! Cluster orchestration for your own service: the front door of the toolkit.
