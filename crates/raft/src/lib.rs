//! openraft behind the `Proposer` seam: log on disk, transport, membership, snapshots.
