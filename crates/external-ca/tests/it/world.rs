//! A cluster's root, a server that holds its key, and a manager that asks it.

use std::time::Duration;

use swarmkit_api::{ClusterId, NodeId, NodeRole, wire};
use swarmkit_ca::{
    Authorities, Credentials, ExternalCa as _, ExternalCaError, Identity, KeyPair, KeySource as _,
    LEAF_VALIDITY_DEFAULT, NodeCertificate, RootCa, SigningOrder, SystemKeys,
};
use swarmkit_external_ca::{
    CfsslClient,
    server::{CfsslServer, ServerHandle},
};
use swarmkit_runtime::{Crew, Env};
use tokio_util::sync::CancellationToken;

pub(crate) const CLUSTER: &str = "cluster";

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) root: RootCa,
    pub(crate) credentials: Credentials,
    pub(crate) server: ServerHandle,
    crew: Crew,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(false, &identity("m", NodeRole::Manager)).await
    }

    /// A world in which `who` asks.
    pub(crate) async fn with(cross_signing: bool, who: &Identity) -> Self {
        let env = Env::real();
        let root = root(&env);
        let credentials = credentials(&root, who, &env);
        let mut crew = Crew::under(&CancellationToken::new());
        let server = serve(&mut crew, &root, &root, cross_signing, &env).await;
        Self { env, root, credentials, server, crew }
    }

    /// Another server, which signs with `root` and listens to the clients of `clients`.
    pub(crate) async fn another(&mut self, root: &RootCa, clients: &RootCa) -> ServerHandle {
        serve(&mut self.crew, root, clients, false, &self.env).await
    }

    pub(crate) fn client(&self) -> CfsslClient {
        CfsslClient::new(self.env.clone(), self.credentials.clone())
    }

    /// The servers at `urls`, all of this world's root.
    pub(crate) fn at(&self, urls: &[&str]) -> Authorities {
        let known: Vec<_> = urls.iter().map(|url| known(url, None)).collect();
        Authorities::new(&known, &self.root, &self.root)
    }

    /// The one server.
    pub(crate) fn authorities(&self) -> Authorities {
        self.at(&[self.server.url()])
    }

    /// Asks for a certificate of `identity`, and checks what comes back.
    pub(crate) async fn sign(&self, identity: &Identity) -> Result<NodeCertificate, ExternalCaError> {
        self.sign_at(&self.authorities(), identity).await
    }

    pub(crate) async fn sign_at(
        &self,
        authorities: &Authorities,
        identity: &Identity,
    ) -> Result<NodeCertificate, ExternalCaError> {
        let (key, order) = order(identity);
        let signed = self.client().sign(authorities, &order).await?;
        let chain = order.accept(&signed, &self.root, self.env.now())?;
        Ok(NodeCertificate::new(&chain, key).unwrap())
    }

    pub(crate) async fn end(self) {
        self.crew.stop().cancel();
        self.crew.finish().await.unwrap();
    }
}

async fn serve(crew: &mut Crew, root: &RootCa, clients: &RootCa, cross_signing: bool, env: &Env) -> ServerHandle {
    let address = ([127, 0, 0, 1], 0).into();
    let server = CfsslServer::bind(address, root.clone(), clients, cross_signing, env).await.unwrap();
    let handle = server.handle();
    crew.spawn("authority", |stop| server.run(stop));
    handle
}

pub(crate) fn root(env: &Env) -> RootCa {
    RootCa::create(&SystemKeys, env).unwrap()
}

pub(crate) fn identity(node: &str, role: NodeRole) -> Identity {
    Identity::new(NodeId::from(node), role, ClusterId::from(CLUSTER))
}

pub(crate) fn certificate(root: &RootCa, who: &Identity, env: &Env) -> NodeCertificate {
    let key = SystemKeys.generate().unwrap();
    let chain = root.issue(&key.request().unwrap(), who, LEAF_VALIDITY_DEFAULT, env).unwrap();
    NodeCertificate::new(&chain, key).unwrap()
}

pub(crate) fn credentials(root: &RootCa, who: &Identity, env: &Env) -> Credentials {
    Credentials::new(root.without_signer(), certificate(root, who, env), env).unwrap()
}

pub(crate) fn order(identity: &Identity) -> (KeyPair, SigningOrder) {
    order_for(identity, LEAF_VALIDITY_DEFAULT)
}

pub(crate) fn order_for(identity: &Identity, validity: Duration) -> (KeyPair, SigningOrder) {
    let key = SystemKeys.generate().unwrap();
    let order = SigningOrder::new(&key.request().unwrap(), identity.clone(), validity).unwrap();
    (key, order)
}

/// An authority as a cluster's settings say it.
pub(crate) fn known(url: &str, root: Option<&RootCa>) -> wire::ExternalCa {
    let ca_cert = root.map(|root| root.bundle().to_owned().into()).unwrap_or_default();
    wire::ExternalCa { url: url.to_owned(), ca_cert, ..Default::default() }
}

/// An address on the loopback where nobody listens.
pub(crate) async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("https://{}/sign", listener.local_addr().unwrap())
}
