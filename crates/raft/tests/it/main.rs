//! Members on disks, alone and in groups.

mod alone;
mod cluster;
mod conformance;
mod group;
mod mortal;
mod network;
mod survivor;
