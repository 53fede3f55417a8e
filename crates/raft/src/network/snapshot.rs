//! A snapshot as messages.

use futures_util::{StreamExt as _, stream::BoxStream};
use swarmkit_api::wire::swarmkit::raft::v1 as wire;
use wire::install_snapshot_request::Part;

use crate::{
    codec::{meta_to_wire, vote_to_wire},
    snapshot::SnapshotFile,
    types::Vote,
};

/// The most data of one message of a snapshot, in bytes; messages may have 4 MiB.
const CHUNK_BYTES: usize = 1 << 20;

/// A snapshot as messages. A piece that cannot be read ends them early, which the receiver notices.
pub(super) fn snapshot_parts(
    route: wire::Route,
    vote: &Vote,
    snapshot: &SnapshotFile,
) -> BoxStream<'static, wire::InstallSnapshotRequest> {
    let offer = wire::SnapshotOffer {
        route: Some(route),
        vote: Some(vote_to_wire(vote)),
        meta: Some(meta_to_wire(&snapshot.meta)),
        size: snapshot.size,
        checksum: snapshot.checksum,
    };
    let offer =
        futures_util::stream::once(async move { wire::InstallSnapshotRequest { part: Some(Part::Offer(offer)) } });
    let pieces = futures_util::stream::unfold(snapshot.reader(), |mut reader| async move {
        match reader.next().await {
            Ok(piece) => piece.map(|piece| (piece, reader)),
            Err(error) => {
                tracing::error!(%error, "a snapshot cannot be sent");
                None
            }
        }
    });
    let chunks = pieces.flat_map(|piece| {
        let chunks: Vec<_> = piece.chunks(CHUNK_BYTES).map(|chunk| piece.slice_ref(chunk)).collect();
        futures_util::stream::iter(chunks)
    });
    let chunks =
        chunks.map(|data| wire::InstallSnapshotRequest { part: Some(Part::Chunk(wire::SnapshotChunk { data })) });
    offer.chain(chunks).boxed()
}
