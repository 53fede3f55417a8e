//! Health: which services of this manager are up.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;
use swarmkit_api::wire::{self, health_check_response::ServingStatus, health_server::Health};
use tonic::{Request, Response, Status};

/// Says which services are up. Clones share the answers; the empty name, which asks for the server itself, is always up.
#[derive(Clone, Debug, Default)]
pub struct HealthApi {
    services: Arc<RwLock<BTreeMap<&'static str, bool>>>,
}

impl HealthApi {
    /// States whether a service is up. A service that was never stated is unknown.
    pub fn set(&self, service: &'static str, up: bool) {
        self.services.write().insert(service, up);
    }
}

#[tonic::async_trait]
impl Health for HealthApi {
    async fn check(
        &self,
        request: Request<wire::HealthCheckRequest>,
    ) -> Result<Response<wire::HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        let up = if service.is_empty() { Some(true) } else { self.services.read().get(service.as_str()).copied() };
        let status = match up {
            Some(true) => ServingStatus::Serving,
            Some(false) => ServingStatus::NotServing,
            None => return Err(Status::not_found("unknown service")),
        };
        Ok(Response::new(wire::HealthCheckResponse { status: status.into() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(health: &HealthApi, service: &str) -> Result<i32, tonic::Code> {
        let request = Request::new(wire::HealthCheckRequest { service: service.into() });
        health.check(request).await.map(|answer| answer.into_inner().status).map_err(|status| status.code())
    }

    #[tokio::test]
    async fn a_service_is_unknown_until_it_is_stated() {
        let health = HealthApi::default();
        assert_eq!(check(&health, "").await, Ok(ServingStatus::Serving.into()));
        assert_eq!(check(&health, "Raft").await, Err(tonic::Code::NotFound));
        health.set("Raft", false);
        assert_eq!(check(&health, "Raft").await, Ok(ServingStatus::NotServing.into()));
        health.set("Raft", true);
        assert_eq!(check(&health, "Raft").await, Ok(ServingStatus::Serving.into()));
    }
}
