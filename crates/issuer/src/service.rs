//! The CA and NodeCA services.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{
    Cluster, Node, NodeId, NodeRole, wire,
    wire::{ca_server::Ca, issuance_status::State, node_ca_server::NodeCa, node_spec::Membership},
};
use swarmkit_ca::{ManagerLock, REQUEST_BYTES_MAX};
use swarmkit_rpc::{Peer, ServiceError as _, tell_time};
use swarmkit_runtime::Env;
use swarmkit_store::{Interest, Store, StoreError};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{Error, crowd::Crowd, returning, sign::role_of_token};

/// How often a fresh id may clash before the clash is taken for something else.
const ID_ATTEMPTS: usize = 4;

/// How long one question for the outcome may wait. Nobody needs a certificate to ask, so it must end; callers ask again,
/// as upstream's do every five seconds.
const OUTCOME_WAIT: Duration = Duration::from_secs(60);

/// The CA and NodeCA services. Clones share the store.
#[derive(Clone, Debug)]
pub struct CaApi {
    env: Env,
    store: Store,
    stop: CancellationToken,
    crowd: Crowd,
}

impl CaApi {
    /// Serves the cluster in `store`. Waiting calls end when `stop` is cancelled.
    #[must_use]
    pub fn new(env: Env, store: Store, stop: CancellationToken) -> Self {
        Self { env, store, stop, crowd: Crowd::default() }
    }

    fn cluster(&self) -> Result<Arc<Cluster>, Error> {
        if self.stop.is_cancelled() {
            return Err(Error::Stopped);
        }
        self.store.view().cluster().cloned().ok_or(Error::Starting)
    }

    /// An answer that says what the clock here says: a node whose clock is wrong cannot use what it is given.
    fn timed<T>(&self, answer: T) -> Response<T> {
        let mut answer = Response::new(answer);
        tell_time(&mut answer, self.env.now());
        answer
    }

    /// The node that the caller has proved to be, if it is one of this cluster that was not removed.
    fn member(&self, peer: &Peer, cluster: &Cluster) -> Option<NodeId> {
        let identity = peer.identity.as_ref()?;
        let removed = cluster.blacklisted_certificates.contains_key(identity.node.as_str());
        (identity.cluster == cluster.id && !removed).then(|| identity.node.clone())
    }

    async fn issue(
        &self,
        peer: &Peer,
        mut request: wire::IssueNodeCertificateRequest,
    ) -> Result<wire::IssueNodeCertificateResponse, Error> {
        if request.csr.is_empty() {
            return Err(Error::Incomplete("a certificate signing request is necessary"));
        }
        if request.csr.len() > REQUEST_BYTES_MAX {
            return Err(Error::Incomplete("the certificate signing request is too large"));
        }
        let cluster = self.cluster()?;
        let (node, membership) = match (self.member(peer, &cluster), request.returning.take()) {
            (Some(node), _) => self.renew(node, request.csr).await?,
            (None, Some(proof)) => returning::readmit(&self.env, &self.store, request, &proof).await?,
            (None, None) => self.admit(request).await?,
        };
        Ok(wire::IssueNodeCertificateResponse { node_id: node.into(), node_membership: membership.into() })
    }

    /// A node that is known asks for another certificate. Its role is what the store says now.
    async fn renew(&self, id: NodeId, csr: bytes::Bytes) -> Result<(NodeId, Membership), Error> {
        let committed = self
            .store
            .update(|tx| {
                let stored = tx.get::<Node>(&id).ok_or_else(|| Error::UnknownNode(id.clone()))?;
                let mut node = stored.as_ref().clone();
                node.certificate = pending(&id, node.role, csr, State::Renew);
                Ok::<_, Error>(tx.update(node)?)
            })
            .await?;
        Ok((id, committed.value.spec.membership()))
    }

    /// A machine that holds a token becomes a node.
    async fn admit(&self, request: wire::IssueNodeCertificateRequest) -> Result<(NodeId, Membership), Error> {
        let view = self.store.view();
        // Who has no token does not get as far as the writers. A token that is replaced meanwhile is found out there.
        let root = &view.cluster().ok_or(Error::Starting)?.root_ca;
        role_of_token(root, &request.token).ok_or(Error::NoToken)?;
        if !self.crowd.has_room(&view) {
            return Err(Error::Crowded);
        }
        let spec = Arc::new(wire::NodeSpec {
            membership: Membership::Accepted.into(),
            availability: request.availability,
            ..Default::default()
        });
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut node = Node::new(NodeId::from(self.env.new_id()));
            node.spec = spec.clone();
            let admitted = self.store.update(|tx| {
                let cluster = tx.cluster().ok_or(Error::Starting)?;
                let role = role_of_token(&cluster.root_ca, &request.token).ok_or(Error::NoToken)?;
                node.role = role;
                Arc::make_mut(&mut node.spec).desired_role = role.into();
                node.certificate = pending(&node.id, role, request.csr.clone(), State::Pending);
                node.vxlan_udp_port = cluster.vxlan_udp_port;
                Ok(tx.create(node)?.id.clone())
            });
            match admitted.await {
                Ok(admitted) => return Ok((admitted.value, Membership::Accepted)),
                Err(Error::Store(StoreError::Exists)) if attempts < ID_ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until the request of a node has been answered.
    async fn outcome(&self, node_id: String) -> Result<wire::NodeCertificateStatusResponse, Error> {
        let id = NodeId::from_wire(node_id).ok_or(Error::Incomplete("a node id is necessary"))?;
        let answer = async {
            let mut updates = self.store.watch(Interest::none().object::<Node>(&id));
            loop {
                let update = updates.next().await.map_err(|_| Error::Stopped)?;
                let node = update.view().get::<Node>(&id).ok_or_else(|| Error::NotFound(id.clone()))?;
                if let Some(answer) = answer(node) {
                    return Ok(answer);
                }
            }
        };
        tokio::select! { biased; // stopping comes before answers, and answers before the end of the wait
            () = self.stop.cancelled() => Err(Error::Stopped),
            answer = answer => answer,
            () = self.env.sleep(OUTCOME_WAIT) => Err(Error::NotYet(id.clone())),
        }
    }
}

/// What a node is told of its certificate. `None` while that is not decided.
fn answer(node: &Node) -> Option<wire::NodeCertificateStatusResponse> {
    let status = node.certificate.status.clone().unwrap_or_default();
    match status.state() {
        State::Issued | State::Failed | State::Rotate => Some(wire::NodeCertificateStatusResponse {
            status: Some(status),
            certificate: Some(node.certificate.clone()),
        }),
        State::Unknown | State::Pending | State::Renew => None,
    }
}

pub(crate) fn pending(id: &NodeId, role: NodeRole, csr: bytes::Bytes, state: State) -> wire::Certificate {
    wire::Certificate {
        role: role.into(),
        csr,
        status: Some(wire::IssuanceStatus { state: state.into(), err: String::new() }),
        certificate: bytes::Bytes::new(),
        cn: id.to_string(),
    }
}

#[tonic::async_trait]
impl Ca for CaApi {
    async fn get_root_ca_certificate(
        &self,
        _: Request<wire::GetRootCaCertificateRequest>,
    ) -> Result<Response<wire::GetRootCaCertificateResponse>, Status> {
        let cluster = self.cluster().map_err(|error| error.to_status())?;
        let certificate = cluster.root_ca.ca_cert.clone();
        Ok(self.timed(wire::GetRootCaCertificateResponse { certificate }))
    }

    async fn get_unlock_key(
        &self,
        _: Request<wire::GetUnlockKeyRequest>,
    ) -> Result<Response<wire::GetUnlockKeyResponse>, Status> {
        let lock = self.cluster().and_then(|cluster| ManagerLock::of(&cluster).map_err(Error::Lock));
        let lock = lock.map_err(|error| error.to_status())?;
        Ok(Response::new(wire::GetUnlockKeyResponse {
            unlock_key: lock.key.map(|key| key.as_bytes().to_vec().into()).unwrap_or_default(),
            version: Some(lock.version.into()),
        }))
    }
}

#[tonic::async_trait]
impl NodeCa for CaApi {
    async fn issue_node_certificate(
        &self,
        request: Request<wire::IssueNodeCertificateRequest>,
    ) -> Result<Response<wire::IssueNodeCertificateResponse>, Status> {
        let peer = Peer::of(&request)?;
        let issued = self.issue(&peer, request.into_inner()).await;
        issued.map(|issued| self.timed(issued)).map_err(|error| error.to_status())
    }

    async fn node_certificate_status(
        &self,
        request: Request<wire::NodeCertificateStatusRequest>,
    ) -> Result<Response<wire::NodeCertificateStatusResponse>, Status> {
        let id = request.into_inner().node_id;
        self.outcome(id).await.map(Response::new).map_err(|error| error.to_status())
    }
}
