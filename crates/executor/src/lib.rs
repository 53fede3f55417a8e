//! The seam between an agent and what runs its tasks.
