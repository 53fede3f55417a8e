//! One service with many replicas on many agents.

use anyhow::Result;

use crate::{
    figures::orch::{Cluster, create, runtime},
    lab::{Lab, Stopwatch},
};

/// A build that is not optimized only shows that it works.
const SHARE: usize = if cfg!(debug_assertions) { 100 } else { 1 };

/// So many replicas on so many agents.
pub(in crate::figures) fn replicas_on<const REPLICAS: usize, const AGENTS: usize>(
    _: &mut Lab,
    repeats: u32,
) -> Result<Vec<f64>> {
    let (replicas, agents) = (REPLICAS / SHARE, AGENTS.div_ceil(SHARE));
    let runtime = runtime()?;
    let sample = || {
        runtime.block_on(async {
            let cluster = Cluster::of(agents).await?;
            let control = cluster.control()?;
            let watch = Stopwatch::start();
            let service = create(control, "replicas", replicas as u64).await?;
            cluster.running(Some(&service), replicas).await?;
            let seconds = watch.seconds();
            cluster.end().await?;
            Ok(seconds)
        })
    };
    (0..repeats).map(|_| sample()).collect()
}
