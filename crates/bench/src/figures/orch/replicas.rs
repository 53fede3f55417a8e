//! One service with many replicas on many agents.

use anyhow::Result;

use super::{cluster::Cluster, converge::create, reaction::runtime};
use crate::lab::{Lab, Stopwatch};

const REPLICAS: usize = 10_000;

/// `orch.replicas_10k_*`, on so many agents.
pub(super) fn on<const AGENTS: usize>(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    let runtime = runtime()?;
    let sample = || {
        runtime.block_on(async {
            let cluster = Cluster::of(AGENTS).await?;
            let control = cluster.control()?;
            let watch = Stopwatch::start();
            let service = create(control, "replicas", REPLICAS as u64).await?;
            cluster.running(Some(&service), REPLICAS).await?;
            let seconds = watch.seconds();
            cluster.end().await?;
            Ok(seconds)
        })
    };
    (0..repeats).map(|_| sample()).collect()
}
