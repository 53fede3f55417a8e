//! Members on disks, alone and in groups.

mod alone;
mod cluster;
mod compaction;
mod conformance;
mod elections;
mod group;
mod healing;
mod keys;
mod membership;
mod mortal;
mod network;
mod proposals;
mod stalls;
mod survivor;
