//! The gRPC face of [`ControlApi`]: one line a method.

use swarmkit_api::wire::{self, control_server::Control};
use swarmkit_rpc::ServiceError as _;
use tonic::{Request, Response, Status};

use crate::ControlApi;

/// What the generated trait asks of a method.
type Answer<T> = Result<Response<T>, Status>;

/// Turns a result of this crate into an answer.
fn answer<T>(result: Result<T, crate::ControlError>) -> Answer<T> {
    result.map(Response::new).map_err(|error| error.to_status())
}

#[tonic::async_trait]
impl Control for ControlApi {
    async fn get_node(&self, request: Request<wire::GetNodeRequest>) -> Answer<wire::GetNodeResponse> {
        answer(ControlApi::get_node(self, request.into_inner()))
    }

    async fn list_nodes(&self, request: Request<wire::ListNodesRequest>) -> Answer<wire::ListNodesResponse> {
        Ok(Response::new(ControlApi::list_nodes(self, request.into_inner())))
    }

    async fn update_node(&self, request: Request<wire::UpdateNodeRequest>) -> Answer<wire::UpdateNodeResponse> {
        answer(ControlApi::update_node(self, request.into_inner()).await)
    }

    async fn remove_node(&self, request: Request<wire::RemoveNodeRequest>) -> Answer<wire::RemoveNodeResponse> {
        answer(ControlApi::remove_node(self, request.into_inner()).await)
    }

    async fn get_task(&self, request: Request<wire::GetTaskRequest>) -> Answer<wire::GetTaskResponse> {
        answer(ControlApi::get_task(self, request.into_inner()))
    }

    async fn list_tasks(&self, request: Request<wire::ListTasksRequest>) -> Answer<wire::ListTasksResponse> {
        Ok(Response::new(ControlApi::list_tasks(self, request.into_inner())))
    }

    async fn remove_task(&self, request: Request<wire::RemoveTaskRequest>) -> Answer<wire::RemoveTaskResponse> {
        answer(ControlApi::remove_task(self, request.into_inner()).await)
    }

    async fn get_service(&self, request: Request<wire::GetServiceRequest>) -> Answer<wire::GetServiceResponse> {
        answer(ControlApi::get_service(self, request.into_inner()))
    }

    async fn list_services(&self, request: Request<wire::ListServicesRequest>) -> Answer<wire::ListServicesResponse> {
        Ok(Response::new(ControlApi::list_services(self, request.into_inner())))
    }

    async fn create_service(
        &self,
        request: Request<wire::CreateServiceRequest>,
    ) -> Answer<wire::CreateServiceResponse> {
        answer(ControlApi::create_service(self, request.into_inner()).await)
    }

    async fn update_service(
        &self,
        request: Request<wire::UpdateServiceRequest>,
    ) -> Answer<wire::UpdateServiceResponse> {
        answer(ControlApi::update_service(self, request.into_inner()).await)
    }

    async fn remove_service(
        &self,
        request: Request<wire::RemoveServiceRequest>,
    ) -> Answer<wire::RemoveServiceResponse> {
        answer(ControlApi::remove_service(self, request.into_inner()).await)
    }

    async fn list_service_statuses(
        &self,
        request: Request<wire::ListServiceStatusesRequest>,
    ) -> Answer<wire::ListServiceStatusesResponse> {
        Ok(Response::new(ControlApi::list_service_statuses(self, request.into_inner())))
    }

    async fn get_network(&self, request: Request<wire::GetNetworkRequest>) -> Answer<wire::GetNetworkResponse> {
        answer(ControlApi::get_network(self, request.into_inner()))
    }

    async fn list_networks(&self, request: Request<wire::ListNetworksRequest>) -> Answer<wire::ListNetworksResponse> {
        Ok(Response::new(ControlApi::list_networks(self, request.into_inner())))
    }

    async fn create_network(
        &self,
        request: Request<wire::CreateNetworkRequest>,
    ) -> Answer<wire::CreateNetworkResponse> {
        answer(ControlApi::create_network(self, request.into_inner()).await)
    }

    async fn remove_network(
        &self,
        request: Request<wire::RemoveNetworkRequest>,
    ) -> Answer<wire::RemoveNetworkResponse> {
        answer(ControlApi::remove_network(self, request.into_inner()).await)
    }

    async fn get_cluster(&self, request: Request<wire::GetClusterRequest>) -> Answer<wire::GetClusterResponse> {
        answer(ControlApi::get_cluster(self, request.into_inner()))
    }

    async fn list_clusters(&self, request: Request<wire::ListClustersRequest>) -> Answer<wire::ListClustersResponse> {
        Ok(Response::new(ControlApi::list_clusters(self, request.into_inner())))
    }

    async fn update_cluster(
        &self,
        request: Request<wire::UpdateClusterRequest>,
    ) -> Answer<wire::UpdateClusterResponse> {
        answer(ControlApi::update_cluster(self, request.into_inner()).await)
    }

    async fn get_secret(&self, request: Request<wire::GetSecretRequest>) -> Answer<wire::GetSecretResponse> {
        answer(ControlApi::get_secret(self, request.into_inner()))
    }

    async fn update_secret(&self, request: Request<wire::UpdateSecretRequest>) -> Answer<wire::UpdateSecretResponse> {
        answer(ControlApi::update_secret(self, request.into_inner()).await)
    }

    async fn list_secrets(&self, request: Request<wire::ListSecretsRequest>) -> Answer<wire::ListSecretsResponse> {
        Ok(Response::new(ControlApi::list_secrets(self, request.into_inner())))
    }

    async fn create_secret(&self, request: Request<wire::CreateSecretRequest>) -> Answer<wire::CreateSecretResponse> {
        answer(ControlApi::create_secret(self, request.into_inner()).await)
    }

    async fn remove_secret(&self, request: Request<wire::RemoveSecretRequest>) -> Answer<wire::RemoveSecretResponse> {
        answer(ControlApi::remove_secret(self, request.into_inner()).await)
    }

    async fn get_config(&self, request: Request<wire::GetConfigRequest>) -> Answer<wire::GetConfigResponse> {
        answer(ControlApi::get_config(self, request.into_inner()))
    }

    async fn update_config(&self, request: Request<wire::UpdateConfigRequest>) -> Answer<wire::UpdateConfigResponse> {
        answer(ControlApi::update_config(self, request.into_inner()).await)
    }

    async fn list_configs(&self, request: Request<wire::ListConfigsRequest>) -> Answer<wire::ListConfigsResponse> {
        Ok(Response::new(ControlApi::list_configs(self, request.into_inner())))
    }

    async fn create_config(&self, request: Request<wire::CreateConfigRequest>) -> Answer<wire::CreateConfigResponse> {
        answer(ControlApi::create_config(self, request.into_inner()).await)
    }

    async fn remove_config(&self, request: Request<wire::RemoveConfigRequest>) -> Answer<wire::RemoveConfigResponse> {
        answer(ControlApi::remove_config(self, request.into_inner()).await)
    }

    async fn get_extension(&self, request: Request<wire::GetExtensionRequest>) -> Answer<wire::GetExtensionResponse> {
        answer(ControlApi::get_extension(self, request.into_inner()))
    }

    async fn create_extension(
        &self,
        request: Request<wire::CreateExtensionRequest>,
    ) -> Answer<wire::CreateExtensionResponse> {
        answer(ControlApi::create_extension(self, request.into_inner()).await)
    }

    async fn remove_extension(
        &self,
        request: Request<wire::RemoveExtensionRequest>,
    ) -> Answer<wire::RemoveExtensionResponse> {
        answer(ControlApi::remove_extension(self, request.into_inner()).await)
    }

    async fn get_resource(&self, request: Request<wire::GetResourceRequest>) -> Answer<wire::GetResourceResponse> {
        answer(ControlApi::get_resource(self, request.into_inner()))
    }

    async fn update_resource(
        &self,
        request: Request<wire::UpdateResourceRequest>,
    ) -> Answer<wire::UpdateResourceResponse> {
        answer(ControlApi::update_resource(self, request.into_inner()).await)
    }

    async fn list_resources(
        &self,
        request: Request<wire::ListResourcesRequest>,
    ) -> Answer<wire::ListResourcesResponse> {
        Ok(Response::new(ControlApi::list_resources(self, request.into_inner())))
    }

    async fn create_resource(
        &self,
        request: Request<wire::CreateResourceRequest>,
    ) -> Answer<wire::CreateResourceResponse> {
        answer(ControlApi::create_resource(self, request.into_inner()).await)
    }

    async fn remove_resource(
        &self,
        request: Request<wire::RemoveResourceRequest>,
    ) -> Answer<wire::RemoveResourceResponse> {
        answer(ControlApi::remove_resource(self, request.into_inner()).await)
    }

    async fn create_volume(&self, request: Request<wire::CreateVolumeRequest>) -> Answer<wire::CreateVolumeResponse> {
        answer(ControlApi::create_volume(self, request.into_inner()).await)
    }

    async fn get_volume(&self, request: Request<wire::GetVolumeRequest>) -> Answer<wire::GetVolumeResponse> {
        answer(ControlApi::get_volume(self, request.into_inner()))
    }

    async fn update_volume(&self, request: Request<wire::UpdateVolumeRequest>) -> Answer<wire::UpdateVolumeResponse> {
        answer(ControlApi::update_volume(self, request.into_inner()).await)
    }

    async fn list_volumes(&self, request: Request<wire::ListVolumesRequest>) -> Answer<wire::ListVolumesResponse> {
        Ok(Response::new(ControlApi::list_volumes(self, request.into_inner())))
    }

    async fn remove_volume(&self, request: Request<wire::RemoveVolumeRequest>) -> Answer<wire::RemoveVolumeResponse> {
        answer(ControlApi::remove_volume(self, request.into_inner()).await)
    }
}
