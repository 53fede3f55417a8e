//! `cargo xtask generate`: Rust from `proto/`, checked in so that a build needs no compiler of protobuf.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use prost::Message as _;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("invariant: xtask lies in the workspace").to_owned()
}

/// Compiles `proto/` and writes `crates/api/src/generated`.
pub(crate) fn generate() -> Result<()> {
    let proto = root().join("proto");
    let out = root().join("crates/api/src/generated");
    std::fs::create_dir_all(&out)?;
    let mut files = Vec::new();
    for dir in ["docker/swarmkit/v1", "raftpb", "swarmkit"] {
        for entry in std::fs::read_dir(proto.join(dir)).with_context(|| format!("reading proto/{dir}"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "proto") { files.push(path); }
        }
    }
    files.sort();
    let set = protox::compile(&files, [&proto]).context("compiling proto/")?;
    std::fs::write(out.join("descriptor.bin"), set.encode_to_vec())?;
    tonic_prost_build::configure()
        .out_dir(&out)
        .btree_map(".")
        .bytes(".docker.swarmkit.v1")
        .build_transport(false)
        .compile_fds(set)?;
    Ok(())
}
