//! What the orchestrator's own memory comes to.

use anyhow::Result;

use super::setting::Setting;
use crate::{lab::Lab, process};

/// `orch.bytes_per_task`
pub(super) fn per_task(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    (0..repeats).map(|_| grown(lab, 1000, 1000).map(|bytes| bytes / 1e6)).collect()
}

/// `orch.bytes_per_service`
pub(super) fn per_service(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    (0..repeats).map(|_| grown(lab, 100_000, 0).map(|bytes| bytes / 1e5)).collect()
}

/// The memory that the process has grown by when the orchestrator has seen everything.
fn grown(lab: &Lab, services: usize, tasks: usize) -> Result<f64> {
    let resident = || Ok::<_, anyhow::Error>(process::usage(std::process::id())?.resident_bytes);
    lab.block_on(async {
        let mut setting = Setting::of(services, tasks).await?;
        let before = resident()?;
        setting.begin().await?;
        let bytes = resident()?.saturating_sub(before);
        setting.end().await?;
        Ok(bytes as f64)
    })
}
