//! From a change of a service to what is done about it first.

use anyhow::Result;
use tokio::runtime::Runtime;

use super::setting::{Setting, made, service_id};
use crate::lab::{Lab, Stopwatch};

/// `orch.update_reaction`
pub(super) fn among_many(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    measure(1000, 100, repeats)
}

/// `orch.update_reaction_one`
pub(super) fn of_one(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    measure(1, 100_000, repeats)
}

fn measure(services: usize, tasks: usize, repeats: u32) -> Result<Vec<f64>> {
    runtime()?.block_on(async {
        let mut setting = Setting::of(services, tasks).await?;
        setting.begin().await?;
        let mut samples = Vec::new();
        for round in 0..repeats as usize {
            let id = service_id(round % services);
            let mut changes = setting.tasks_of(&id).await?;
            let watch = Stopwatch::start();
            setting.update(&id, &format!("web:r{round}")).await?;
            made(&mut changes, 1).await?;
            samples.push(watch.seconds() * 1e3);
        }
        setting.end().await?;
        Ok(samples)
    })
}

/// As programs do that say `#[tokio::main]`.
pub(in crate::figures) fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
