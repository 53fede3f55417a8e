//! Admitting members and letting them go: what the leader answers to other managers.
//!
//! A member is its log: a manager that comes back without it must not vote under its old raft id, since it no longer
//! knows what it has promised. So the leader asks whoever wants to join which member it runs. The one that the group
//! knows is only given its new address; one without a log is admitted under a new raft id, and replaces the old one.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use swarmkit_api::{
    Node, NodeId, NodeRole, wire,
    wire::{
        health_check_response::ServingStatus,
        health_client::HealthClient,
        raft_membership_server::RaftMembership,
        swarmkit::raft::v1::{DescribeRequest, raft_member_client::RaftMemberClient},
    },
};
use swarmkit_raft::{Member, Raft, RaftError, new_raft_id};
use swarmkit_rpc::{Channel, ChannelOptions, ErrorCode, Origin, Peer, ServerRole, ServiceError, Transport};
use swarmkit_runtime::{Env, Spawner};
use swarmkit_store::Store;
use tokio::sync::Mutex;
use tonic::{Request, Response, Status};

use crate::{seat::Seat, services::RAFT};

/// How long whoever wants to join may take to answer when it is called back, as upstream.
const CALL_BACK: Duration = Duration::from_secs(5);
/// How long a change of the membership waits for another one that is under way.
const CHANGE_WAIT: Duration = Duration::from_secs(10);
/// How often it looks whether that is over.
const CHANGE_RETRY: Duration = Duration::from_millis(50);

/// Why a membership was not changed. The texts are upstream's where it has the case.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MembershipError {
    /// The address is none, or not one that the caller could have.
    #[error("invalid address {0:?} in raft join request")]
    Address(String),
    /// The request lacks a part.
    #[error("no node information provided")]
    NoMember,
    /// This manager takes no part yet.
    #[error("raft: node is not yet part of a raft cluster")]
    NotYetMember,
    /// Another manager leads.
    #[error("raft: failed to process the request: node lost leader status")]
    NotLeader,
    /// The caller's log is that of a member that was removed.
    #[error("raft: member was removed from the cluster")]
    Removed,
    /// There is no such member.
    #[error("raft: member unknown")]
    UnknownMember,
    /// The cluster does not want that node for a manager.
    #[error("node {0} is not to be a manager of this cluster")]
    NotWanted(NodeId),
    /// A manager may end its own membership only.
    #[error("node {0} may not end the membership of another one")]
    NotYours(NodeId),
    /// Nobody else reaches it either.
    #[error("could not connect to prospective new cluster member using its advertised address: {0}")]
    CallBack(String),
    /// Raft refused.
    #[error(transparent)]
    Raft(RaftError),
}

impl From<RaftError> for MembershipError {
    fn from(error: RaftError) -> Self {
        match error {
            RaftError::NotLeader { .. } => Self::NotLeader,
            RaftError::UnknownMember => Self::UnknownMember,
            other => Self::Raft(other),
        }
    }
}

impl ServiceError for MembershipError {
    fn is_undone(&self) -> bool {
        matches!(self, Self::NotLeader | Self::NotYetMember)
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Address(_) | Self::NoMember => ErrorCode::InvalidArgument,
            Self::NotYetMember | Self::NotLeader => ErrorCode::FailedPrecondition,
            Self::Removed | Self::UnknownMember => ErrorCode::NotFound,
            Self::NotYours(_) | Self::NotWanted(_) => ErrorCode::PermissionDenied,
            // As upstream, which classifies it no further.
            Self::CallBack(_) => ErrorCode::Unknown,
            Self::Raft(RaftError::QuorumAtRisk) => ErrorCode::FailedPrecondition,
            Self::Raft(_) => ErrorCode::Unavailable,
        }
    }
}

/// The membership service. Clones share it.
#[derive(Clone)]
pub(crate) struct MembershipApi(Arc<Inner>);

struct Inner {
    env: Env,
    seat: Seat,
    store: Store,
    transport: Arc<dyn Transport>,
    spawner: Spawner,
    /// Held while a request is worked on: two of one node would each be given a raft id.
    one_at_a_time: Mutex<()>,
}

impl MembershipApi {
    /// Admits to the group of `seat`; calls back over connections of the spawner's crew.
    pub(crate) fn new(env: Env, seat: Seat, store: Store, transport: Arc<dyn Transport>, spawner: Spawner) -> Self {
        Self(Arc::new(Inner { env, seat, store, transport, spawner, one_at_a_time: Mutex::default() }))
    }
}

impl Inner {
    fn leading(&self) -> Result<&Raft, MembershipError> {
        self.seat.raft().ok_or(MembershipError::NotYetMember)?;
        self.seat.leading().ok_or(MembershipError::NotLeader)
    }

    async fn join(
        &self,
        node: &NodeId,
        from: Option<SocketAddr>,
        request: &wire::JoinRequest,
    ) -> Result<wire::JoinResponse, MembershipError> {
        let addr = reached_at(&request.addr, from)?;
        let _one = self.one_at_a_time.lock().await;
        let raft = self.leading()?;
        let wanted =
            self.store.view().get::<Node>(node).is_some_and(|node| node.spec.desired_role() == NodeRole::Manager);
        if !wanted {
            return Err(MembershipError::NotWanted(node.clone()));
        }
        let runs = tokio::time::timeout(CALL_BACK, self.call_back(&addr, node)).await;
        let runs = runs.unwrap_or_else(|_| Err(MembershipError::CallBack("no answer in time".to_owned())))?;
        let known: Vec<Member> = raft.members().into_iter().map(|status| status.member).collect();
        let own = known.iter().find(|member| member.node_id == *node);
        let raft_id = match own {
            Some(member) if Some(member.raft_id) == runs => {
                if member.addr != addr {
                    tracing::info!(%node, addr, "a member is reached elsewhere now");
                    self.change(raft, Change::Move(member.raft_id, &addr)).await?;
                }
                member.raft_id
            }
            _ if runs.is_some() => return Err(MembershipError::Removed),
            lost => {
                if let Some(lost) = lost {
                    tracing::warn!(%node, "a member has lost its log, and is replaced");
                    self.change(raft, Change::Remove(lost.raft_id)).await?;
                }
                let raft_id = self.fresh_id(&known);
                self.change(raft, Change::Add(raft_id, node, &addr)).await?;
                tracing::info!(%node, addr, "a member is admitted");
                raft_id
            }
        };
        let members = raft.members().into_iter().map(|status| on_the_wire(status.member)).collect();
        Ok(wire::JoinResponse { raft_id, members, removed_members: Vec::new() })
    }

    /// Makes sure that the node is reached at an address, and asks which member it runs, if any.
    async fn call_back(&self, addr: &str, node: &NodeId) -> Result<Option<u64>, MembershipError> {
        let failed = |reason: String| MembershipError::CallBack(reason);
        let options = ChannelOptions { connect_timeout: CALL_BACK, unary_timeout: CALL_BACK, keep_alive: None };
        let channel = Channel::connect(&*self.transport, addr, ServerRole::Manager, &options, &self.spawner).await;
        let channel = channel.map_err(|error| failed(error.to_string()))?;
        match channel.server() {
            Origin::Remote { identity: Some(found), .. } if found.node == *node => {}
            other => return Err(failed(format!("{addr} is {}", who(other)))),
        }
        let refused = |status: Status| failed(format!("{addr}: {}", status.message()));
        let asked = wire::HealthCheckRequest { service: RAFT.to_owned() };
        let health = HealthClient::new(channel.clone()).check(asked).await.map_err(refused)?.into_inner();
        if health.status() != ServingStatus::Serving {
            return Err(failed(format!("{addr} does not serve yet")));
        }
        let described = RaftMemberClient::new(channel).describe(DescribeRequest { raft_id: 0 }).await;
        let raft_id = described.map_err(refused)?.into_inner().raft_id;
        Ok((raft_id != 0).then_some(raft_id))
    }

    fn fresh_id(&self, known: &[Member]) -> u64 {
        loop {
            let id = new_raft_id(&self.env);
            if known.iter().all(|member| member.raft_id != id) {
                return id;
            }
        }
    }

    async fn leave(&self, caller: &NodeId, request: &wire::LeaveRequest) -> Result<(), MembershipError> {
        let raft_id = request.node.as_ref().ok_or(MembershipError::NoMember)?.raft_id;
        let _one = self.one_at_a_time.lock().await;
        let raft = self.leading()?;
        let mut members = raft.members().into_iter();
        let found = members.find(|status| status.member.raft_id == raft_id).ok_or(MembershipError::UnknownMember)?;
        if found.member.node_id != *caller {
            return Err(MembershipError::NotYours(caller.clone()));
        }
        self.change(raft, Change::Remove(raft_id)).await
    }

    /// Changes the membership, and waits its turn if another change is under way.
    async fn change(&self, raft: &Raft, change: Change<'_>) -> Result<(), MembershipError> {
        let mut waited = Duration::ZERO;
        loop {
            let attempt = match change {
                Change::Add(raft_id, node, addr) => raft.add_learner(raft_id, node, addr).await,
                Change::Move(raft_id, addr) => raft.set_address(raft_id, addr).await,
                Change::Remove(raft_id) => raft.remove(raft_id).await,
            };
            match attempt {
                Err(RaftError::ChangeUnderWay) if waited < CHANGE_WAIT => {
                    self.env.sleep(CHANGE_RETRY).await;
                    waited += CHANGE_RETRY;
                }
                result => return Ok(result?),
            }
        }
    }
}

/// What happens to a member, by raft id.
#[derive(Clone, Copy)]
enum Change<'a> {
    /// It becomes one, as a learner.
    Add(u64, &'a NodeId, &'a str),
    /// It is reached elsewhere.
    Move(u64, &'a str),
    /// It is one no more.
    Remove(u64),
}

/// Where a caller is reached that gives this address: one that means every address of its machine is replaced by the one
/// that its call comes from.
fn reached_at(given: &str, from: Option<SocketAddr>) -> Result<String, MembershipError> {
    let invalid = || MembershipError::Address(given.to_owned());
    let (host, port) = given.rsplit_once(':').ok_or_else(invalid)?;
    if host.is_empty() || !port.parse::<u16>().is_ok_and(|port| port != 0) {
        return Err(invalid());
    }
    match given.parse::<SocketAddr>() {
        Ok(addr) if addr.ip().is_unspecified() => {
            Ok(SocketAddr::new(from.ok_or_else(invalid)?.ip(), addr.port()).to_string())
        }
        _ => Ok(given.to_owned()),
    }
}

fn who(found: &Origin) -> String {
    match found {
        Origin::Remote { identity: Some(identity), .. } => format!("node {}", identity.node),
        Origin::Remote { identity: None, .. } | Origin::Local => "nobody".to_owned(),
    }
}

fn on_the_wire(member: Member) -> wire::RaftMember {
    wire::RaftMember { raft_id: member.raft_id, node_id: member.node_id.into(), addr: member.addr, status: None }
}

#[tonic::async_trait]
impl RaftMembership for MembershipApi {
    async fn join(&self, request: Request<wire::JoinRequest>) -> Result<Response<wire::JoinResponse>, Status> {
        let peer = Peer::of(&request)?;
        let node = peer.identity()?.node.clone();
        let joined = self.0.join(&node, peer.addr, request.get_ref()).await;
        joined.map(Response::new).map_err(|error| {
            tracing::warn!(%node, addr = request.get_ref().addr, %error, "a manager was not admitted");
            error.to_status()
        })
    }

    async fn leave(&self, request: Request<wire::LeaveRequest>) -> Result<Response<wire::LeaveResponse>, Status> {
        let caller = Peer::of(&request)?.identity()?.node.clone();
        let left = self.0.leave(&caller, request.get_ref()).await;
        left.map(|()| Response::new(wire::LeaveResponse {})).map_err(|error| error.to_status())
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn refusals_have_the_codes_and_the_words_that_managers_know() {
        let at_risk = RaftError::QuorumAtRisk.into();
        let cases: [(MembershipError, Code, &str); 7] = [
            (
                MembershipError::NotLeader,
                Code::FailedPrecondition,
                "raft: failed to process the request: node lost leader status",
            ),
            (
                RaftError::NotLeader { leader: Some("m2:1".to_owned()) }.into(),
                Code::FailedPrecondition,
                "raft: failed to process the request: node lost leader status",
            ),
            (MembershipError::NotYetMember, Code::FailedPrecondition, "raft: node is not yet part of a raft cluster"),
            (MembershipError::Removed, Code::NotFound, "raft: member was removed from the cluster"),
            (RaftError::UnknownMember.into(), Code::NotFound, "raft: member unknown"),
            (MembershipError::NoMember, Code::InvalidArgument, "no node information provided"),
            (
                at_risk,
                Code::FailedPrecondition,
                "raft: member cannot be removed, because removing it may result in loss of quorum",
            ),
        ];
        for (error, code, text) in cases {
            let status = error.to_status();
            assert_eq!((status.code(), status.message()), (code, text));
        }
        // Nothing was done, so whoever has passed the call on may turn to the next leader.
        assert!(MembershipError::NotLeader.is_undone() && !MembershipError::Removed.is_undone());
    }

    #[test]
    fn every_address_is_replaced_by_the_one_that_the_call_comes_from() {
        let from = Some("10.1.2.3:5555".parse().unwrap());
        assert_eq!(reached_at("0.0.0.0:4242", from).unwrap(), "10.1.2.3:4242");
        assert_eq!(reached_at("[::]:4242", from).unwrap(), "10.1.2.3:4242");
        assert_eq!(reached_at("10.9.9.9:4242", from).unwrap(), "10.9.9.9:4242");
        assert_eq!(reached_at("manager.example:4242", from).unwrap(), "manager.example:4242");
        for wrong in ["", "10.9.9.9", "10.9.9.9:", "10.9.9.9:0", ":4242", "10.9.9.9:port"] {
            let text = reached_at(wrong, from).unwrap_err().to_string();
            assert_eq!(text, format!("invalid address {wrong:?} in raft join request"));
        }
        assert!(reached_at("0.0.0.0:4242", None).is_err(), "it is not known where the call comes from");
    }
}
