//! The replicated object store: tables, transactions, watches, and the `Proposer` seam.
