//! The provider under the allocator that it is made for.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod histories;
mod stories;

#[test]
fn the_provider_keeps_what_the_seam_obliges_to() {
    swarmkit_allocator::conformance::all(&swarmkit_overlay_networks::OverlayNetworks);
}
