//! What a manager tells others about raft: where a member is, and which one runs here. Never passed on to the leader.

use std::time::Duration;

use swarmkit_api::wire::{
    self,
    raft_server::Raft,
    swarmkit::raft::v1::{DescribeRequest, DescribeResponse, raft_member_server::RaftMember},
};
use tonic::{Request, Response, Status, Streaming};

use crate::{membership::MembershipError, seat::Seat};
use swarmkit_rpc::ServiceError as _;

/// How long a quorum may take to confirm what a leader denies.
const PROOF: Duration = Duration::from_secs(1);

const OTHER_PROTOCOL: &str =
    "this manager replicates with swarmkit.raft.v1; managers of another kind cannot be in its group";

/// The services about raft that are answered here.
#[derive(Clone)]
pub(crate) struct RaftApi(pub(crate) Seat);

#[tonic::async_trait]
impl Raft for RaftApi {
    async fn process_raft_message(
        &self,
        _: Request<wire::ProcessRaftMessageRequest>,
    ) -> Result<Response<wire::ProcessRaftMessageResponse>, Status> {
        Err(Status::unimplemented(OTHER_PROTOCOL))
    }

    async fn stream_raft_message(
        &self,
        _: Request<Streaming<wire::StreamRaftMessageRequest>>,
    ) -> Result<Response<wire::StreamRaftMessageResponse>, Status> {
        Err(Status::unimplemented(OTHER_PROTOCOL))
    }

    async fn resolve_address(
        &self,
        request: Request<wire::ResolveAddressRequest>,
    ) -> Result<Response<wire::ResolveAddressResponse>, Status> {
        let raft_id = request.into_inner().raft_id;
        let raft = self.0.raft().ok_or(MembershipError::NotYetMember).map_err(|error| error.to_status())?;
        let found = raft.members().into_iter().find(|status| status.member.raft_id == raft_id);
        let found = found.ok_or(MembershipError::UnknownMember).map_err(|error| error.to_status())?;
        Ok(Response::new(wire::ResolveAddressResponse { addr: found.member.addr }))
    }
}

#[tonic::async_trait]
impl RaftMember for RaftApi {
    async fn describe(&self, request: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
        let asked = request.into_inner().raft_id;
        let Some(raft) = self.0.raft() else { return Ok(Response::new(DescribeResponse::default())) };
        let known = raft.members().iter().any(|status| status.member.raft_id == asked);
        let mut described =
            DescribeResponse { raft_id: raft.raft_id(), leads: self.0.leading().is_some(), is_member: known };
        if asked != 0 && !known && described.leads {
            // Whoever hears this gives its log up, so it is not enough to believe to lead.
            let proved = tokio::time::timeout(PROOF, raft.has_removed(asked)).await;
            described.leads = proved.is_ok_and(|removed| removed.is_ok_and(|removed| removed));
        }
        Ok(Response::new(described))
    }
}
