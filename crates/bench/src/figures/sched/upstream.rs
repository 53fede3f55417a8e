//! The cases of upstream's own benchmark.

use anyhow::Result;
use swarmkit::api::Task;

use super::setting::{Setting, networked, node, runtime, task};
use crate::lab::Lab;

/// So many thousand tasks onto so many thousand nodes, in milliseconds.
pub(super) fn plain<const NODES: usize, const TASKS: usize>(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    samples(NODES * 1000, TASKS * 1000, task, repeats)
}

/// The same where every third node will do.
pub(super) fn constrained<const NODES: usize, const TASKS: usize>(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    samples(NODES * 1000, TASKS * 1000, networked, repeats)
}

fn samples(nodes: usize, tasks: usize, make: fn(usize) -> Task, repeats: u32) -> Result<Vec<f64>> {
    let runtime = runtime()?;
    let sample = || {
        runtime.block_on(async {
            let mut setting = Setting::begin().await?;
            let all = setting.assigned(tasks, |tx| {
                (0..nodes).try_for_each(|number| tx.create(node(number)).map(drop))?;
                (0..tasks).try_for_each(|number| tx.create(make(number)).map(drop))
            });
            let seconds = all.await?;
            setting.end().await?;
            Ok(seconds * 1e3)
        })
    };
    (0..repeats).map(|_| sample()).collect()
}
