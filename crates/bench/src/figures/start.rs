//! How soon a node answers.
use anyhow::{Result, ensure};
use swarmkit_api::wire;

use crate::daemon::{Daemon, sleepers};
use crate::lab::Lab;

/// How many services the state holds that a node is started again on.
const SERVICES: usize = 1000;

/// `start.first_call`
pub(crate) fn first_call(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    let swarmd = lab.swarmd()?;
    lab.block_on(async {
        let mut samples = Vec::new();
        for _ in 0..repeats {
            let state = tempfile::tempdir()?;
            let daemon = Daemon::start(swarmd, state.path()).await?;
            samples.push(daemon.start_time.as_secs_f64() * 1000.0);
            daemon.stop().await?;
        }
        Ok(samples)
    })
}

/// `start.restart`
pub(crate) fn restart(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    let swarmd = lab.swarmd()?;
    lab.block_on(async {
        let state = tempfile::tempdir()?;
        let daemon = Daemon::start(swarmd, state.path()).await?;
        let mut control = daemon.client.control();
        for i in 0..SERVICES {
            let request = wire::CreateServiceRequest { spec: Some(sleepers(&format!("service-{i}"), 0)) };
            control.create_service(request).await?;
        }
        daemon.stop().await?;
        let mut samples = Vec::new();
        for _ in 0..repeats {
            let daemon = Daemon::start(swarmd, state.path()).await?;
            samples.push(daemon.start_time.as_secs_f64() * 1000.0);
            let request = wire::ListServicesRequest::default();
            let services = daemon.client.control().list_services(request).await?.into_inner().services;
            ensure!(services.len() == SERVICES, "{} of {SERVICES} services are there again", services.len());
            daemon.stop().await?;
        }
        Ok(samples)
    })
}
