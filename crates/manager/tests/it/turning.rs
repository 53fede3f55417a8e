//! Nodes that do nothing but follow the root of their cluster: a session, and another certificate when they are told to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use swarmkit_api::{NodeRole, wire};
use swarmkit_ca::{Credentials, KeySource as _, NodeCertificate, RootCa, SystemKeys};
use swarmkit_rpc::Channel;
use swarmkit_runtime::{Crew, Env};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use wire::{dispatcher_client::DispatcherClient, issuance_status::State, node_ca_client::NodeCaClient};

use crate::world::{Callers, Machine, identity};

/// The pause between a wish and the renewal, as nodes make it.
const WISH_PAUSE: Duration = Duration::from_millis(500);
/// Sessions end without a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(4);
/// The pause before another manager is turned to.
const PAUSE: Duration = Duration::from_millis(200);

/// A node that lives until it is dropped.
pub(crate) struct Turning {
    pub(crate) credentials: Credentials,
    /// How many certificates it has asked for.
    pub(crate) asked: Arc<AtomicUsize>,
    _crew: Crew,
}

struct Life {
    env: Env,
    id: String,
    role: NodeRole,
    callers: Arc<Callers>,
    managers: Vec<String>,
    credentials: Credentials,
    asked: Arc<AtomicUsize>,
}

impl Turning {
    /// A node with a certificate that the root of a machine's cluster has signed, or the one that it had before.
    pub(crate) fn start(
        machine: &Machine,
        id: &str,
        role: NodeRole,
        managers: &[String],
        callers: &Arc<Callers>,
        before: Option<Credentials>,
    ) -> Self {
        let credentials = before.unwrap_or_else(|| {
            let certificate = machine.certificate(&machine.root, &identity(id, role));
            Credentials::new(machine.root.without_signer(), certificate, &machine.env).unwrap()
        });
        let asked = Arc::default();
        let life = Life {
            env: machine.env.clone(),
            id: id.to_owned(),
            role,
            callers: callers.clone(),
            managers: managers.to_vec(),
            credentials: credentials.clone(),
            asked: Arc::clone(&asked),
        };
        let mut crew = Crew::under(&CancellationToken::new());
        crew.spawn("node", |stop| life.run(stop));
        Self { credentials, asked, _crew: crew }
    }

    /// The only root that it trusts.
    pub(crate) fn root(&self) -> String {
        self.credentials.trust().root().bundle().to_owned()
    }
}

impl Life {
    async fn run(self, stop: CancellationToken) -> Result<(), Status> {
        let live = async {
            for turn in 0.. {
                let address = &self.managers[turn % self.managers.len()];
                let channel = self.callers.connect_to(address, Some(identity(&self.id, self.role))).await;
                if self.session(channel).await.is_err() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        tokio::select! { biased; // there is nothing to put in order
            () = stop.cancelled() => {}
            () = live => {}
        }
        Ok(())
    }

    /// One session, until it ends or this node has something else to tell of itself.
    async fn session(&self, channel: Channel) -> Result<(), Status> {
        let tls_info = Some(self.credentials.trust().tls_info());
        let description =
            Some(wire::NodeDescription { hostname: format!("host-{}", self.id), tls_info, ..Default::default() });
        let mut dispatcher = DispatcherClient::new(channel.clone());
        let request = wire::SessionRequest { description, session_id: String::new() };
        let mut messages = dispatcher.session(request).await?.into_inner();
        let mut session_id = String::new();
        loop {
            let message = tokio::select! { biased; // what is said comes before the next sign of life
                message = messages.message() => message?.ok_or_else(|| Status::unavailable("the session is over"))?,
                () = tokio::time::sleep(HEARTBEAT) => {
                    dispatcher.heartbeat(wire::HeartbeatRequest { session_id: session_id.clone() }).await?;
                    continue;
                }
            };
            session_id = message.session_id;
            if !message.root_ca.is_empty() {
                self.follow(&message.root_ca);
            }
            let status = message.node.and_then(|node| node.certificate).and_then(|certificate| certificate.status);
            if status.is_some_and(|status| status.state() == State::Rotate) {
                tokio::time::sleep(WISH_PAUSE).await;
                return self.renew(channel).await;
            }
        }
    }

    /// Trusts other roots, if its own certificate is good under them.
    fn follow(&self, told: &[u8]) {
        if told != self.credentials.trust().root().bundle().as_bytes() {
            let root = RootCa::from_pem(std::str::from_utf8(told).unwrap(), self.env.now()).unwrap();
            self.credentials.replace_root(root).expect("nobody tells a root that a node cannot follow");
        }
    }

    async fn renew(&self, channel: Channel) -> Result<(), Status> {
        let key = SystemKeys.generate().unwrap();
        let csr = key.request().unwrap().into_bytes();
        let mut authority = NodeCaClient::new(channel);
        let request = wire::IssueNodeCertificateRequest { csr: csr.clone().into(), ..Default::default() };
        self.asked.fetch_add(1, Ordering::Relaxed);
        authority.issue_node_certificate(request).await?;
        let request = wire::NodeCertificateStatusRequest { node_id: self.id.clone() };
        let answer = authority.node_certificate_status(request).await?.into_inner().certificate.unwrap();
        if answer.csr != csr {
            return Err(Status::aborted("another request has taken the place of this one"));
        }
        let chain = std::str::from_utf8(&answer.certificate).unwrap();
        // Whoever trusts the present root only can make something of it, whatever is under way.
        self.credentials.replace_certificate(NodeCertificate::new(chain, key).unwrap()).expect("it verifies");
        Ok(())
    }
}
