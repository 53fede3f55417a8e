//! Joining: what is tried again, and what is not.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
};

use swarmkit_api::{wire, wire::node_ca_server::NodeCa};
use swarmkit_issuer::CaApi;
use swarmkit_rpc::ConnectError;
use tonic::{Code, Request, Response, Status};

use super::*;
use crate::testing::{ADDRESS, Authority};

fn closed() -> JoinError {
    ConnectError::Closed { address: "m:1".into(), reason: "reset".into() }.into()
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_five_times_with_pauses() {
    let env = Env::real();
    let attempts = Cell::new(0);
    let begin = tokio::time::Instant::now();
    let result: Result<(), _> = persist(&env, async || {
        attempts.set(attempts.get() + 1);
        Err(closed())
    })
    .await;
    assert!(result.is_err());
    assert_eq!(attempts.get(), ATTEMPTS);
    assert!(begin.elapsed() >= PAUSE * (ATTEMPTS - 1));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_get_better_is_tried_once() {
    let attempts = Cell::new(0);
    let result: Result<(), _> = persist(&Env::real(), async || {
        attempts.set(attempts.get() + 1);
        Err(JoinError::NoToken)
    })
    .await;
    assert!(matches!(result, Err(JoinError::NoToken)));
    assert_eq!(attempts.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_has_too_many_callers_is_tried_for_minutes_with_pauses_that_grow() {
    let crowded = || {
        let status = Box::new(tonic::Status::resource_exhausted("too many nodes wait; try again later"));
        JoinError::Refused { address: "m:1".into(), status }
    };
    let (attempts, begin) = (Cell::new(0), tokio::time::Instant::now());
    let result = persist(&Env::real(), async || {
        attempts.set(attempts.get() + 1);
        if attempts.get() <= ATTEMPTS + 3 { Err(crowded()) } else { Ok(()) }
    })
    .await;
    assert!(result.is_ok());
    assert!(begin.elapsed() >= PAUSE * (ATTEMPTS + 3), "{:?}", begin.elapsed());
    let for_ever: Result<(), _> = persist(&Env::real(), async || Err(crowded())).await;
    assert!(for_ever.unwrap_err().to_string().ends_with("try again later"));
    assert!(begin.elapsed() <= Duration::from_secs(900));
}

/// The managers at these addresses.
fn managers(authority: &Authority, addresses: &[&str]) -> Managers {
    let remotes = addresses.iter().map(|&address| Remote { node: None, address: address.to_owned() });
    Managers { known: Remotes::new(remotes, &authority.env), env: authority.env.clone(), spawner: authority.spawner() }
}

/// A worker's way to the authority, without a certificate.
fn channels(authority: &Authority) -> Channels {
    let transport = Arc::new(authority.network.transport(None));
    Channels::new(transport, ChannelOptions { keep_alive: None, ..Default::default() }, authority.spawner())
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_lost_while_waiting_makes_no_second_node() {
    let authority = Authority::new().await;
    let server = authority.serve().await;
    let (channels, token) = (channels(&authority), authority.worker_token());
    let managers = managers(&authority, &[ADDRESS]);
    let joining = managers.admission(&channels, &authority.root, &token, None);
    let meanwhile = async {
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert_eq!(authority.nodes(), 1, "it was admitted, and waits");
        server.end().await;
        let server = authority.serve().await;
        authority.sign();
        server
    };
    let (joined, server) = tokio::join!(joining, meanwhile);
    let joined = joined.unwrap();
    assert_eq!(authority.nodes(), 1);
    assert!(authority.has_node(&joined.identity().node));
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_never_answers_is_given_up_and_asked_once() {
    let authority = Authority::new().await;
    let server = authority.serve().await;
    let begin = tokio::time::Instant::now();
    let token = authority.worker_token();
    let managers = managers(&authority, &[ADDRESS]);
    let joined = managers.admission(&channels(&authority), &authority.root, &token, None).await;
    assert_eq!(joined.unwrap_err().to_string(), "m:1 took the request and made no certificate in time");
    assert!(begin.elapsed() <= Duration::from_secs(90), "{:?}", begin.elapsed());
    assert_eq!(authority.nodes(), 1);
    server.end().await;
}

/// An authority that counts what it is asked, and may answer in its own way.
struct Counting {
    inner: CaApi,
    /// How often a certificate was asked for.
    asked: Arc<AtomicUsize>,
    /// Whether it is of upstream, which does not know how nodes come back.
    is_upstream: bool,
    /// What it refuses to tell the outcome with.
    silent: Option<Code>,
}

#[tonic::async_trait]
impl NodeCa for Counting {
    async fn issue_node_certificate(
        &self,
        mut request: Request<wire::IssueNodeCertificateRequest>,
    ) -> Result<Response<wire::IssueNodeCertificateResponse>, Status> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.is_upstream {
            request.get_mut().returning = None;
        }
        self.inner.issue_node_certificate(request).await
    }

    async fn node_certificate_status(
        &self,
        request: Request<wire::NodeCertificateStatusRequest>,
    ) -> Result<Response<wire::NodeCertificateStatusResponse>, Status> {
        match self.silent {
            Some(code) => Err(Status::new(code, "silent")),
            None => self.inner.node_certificate_status(request).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_does_not_know_how_nodes_come_back_makes_a_new_one() {
    for is_upstream in [false, true] {
        let authority = Authority::new().await;
        authority.sign();
        let node = swarmkit_testing::node("w").build();
        authority.store.update(|tx| tx.create(node)).await.unwrap();
        let was = authority.certificate(&crate::testing::identity("w", NodeRole::Worker));
        tokio::time::sleep(Duration::from_secs(5 * 3600)).await;
        let asked = Arc::<AtomicUsize>::default();
        let counting = |inner| Counting { inner, asked: asked.clone(), is_upstream, silent: None };
        let server = authority.serve_at(ADDRESS, counting).await;
        let managers = managers(&authority, &[ADDRESS]);
        let (channels, token) = (channels(&authority), authority.worker_token());
        let is = managers.admission(&channels, &authority.root, &token, Some(&was)).await.unwrap();
        assert_eq!(is.identity().node.as_str() != "w", is_upstream);
        assert_eq!(authority.nodes(), if is_upstream { 2 } else { 1 });
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        server.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_outcome_is_asked_of_another_manager_when_the_connection_is_lost_after_the_request() {
    let authority = Authority::new().await;
    authority.sign();
    let asked = Arc::<AtomicUsize>::default();
    let counting =
        |inner| Counting { inner, asked: asked.clone(), is_upstream: false, silent: Some(Code::Unavailable) };
    // Whichever is asked for the certificate, one of the two never tells what came of it.
    let (silent, talks) = (authority.serve_at("m:1", counting).await, authority.serve_at("m:2", |ca| ca).await);
    let managers = managers(&authority, &["m:1", "m:2"]);
    let (channels, token) = (channels(&authority), authority.worker_token());
    for joined in 1..=8 {
        let node = managers.admission(&channels, &authority.root, &token, None).await.unwrap();
        assert!(authority.has_node(&node.identity().node));
        assert_eq!(authority.nodes(), joined, "no second one");
    }
    silent.end().await;
    talks.end().await;
}

#[tokio::test(start_paused = true)]
async fn when_the_connection_is_lost_and_nobody_else_is_left_that_is_the_error() {
    let authority = Authority::new().await;
    let server = authority.serve().await;
    let (channels, token) = (channels(&authority), authority.worker_token());
    let managers = managers(&authority, &[ADDRESS]);
    let joining = managers.admission(&channels, &authority.root, &token, None);
    let meanwhile = async {
        tokio::time::sleep(Duration::from_secs(8)).await;
        server.end().await;
    };
    let (joined, ()) = tokio::join!(joining, meanwhile);
    let error = joined.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains(ADDRESS), "{error}");
    assert_eq!(authority.nodes(), 1, "it was asked once");
}

#[tokio::test(start_paused = true)]
async fn a_join_that_is_given_up_ends_at_once() {
    let authority = Authority::new().await;
    let server = authority.serve().await;
    let (channels, token) = (channels(&authority), authority.worker_token());
    let managers = managers(&authority, &[ADDRESS]);
    let joining = managers.admission(&channels, &authority.root, &token, None);
    let begin = tokio::time::Instant::now();
    let given_up = tokio::time::timeout(Duration::from_secs(8), joining).await;
    assert!(given_up.is_err(), "nobody signs, so it waited");
    assert_eq!(begin.elapsed(), Duration::from_secs(8));
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_refused_is_told_at_once_and_not_repeated() {
    let authority = Authority::new().await;
    let asked = Arc::<AtomicUsize>::default();
    let counting = |inner| Counting { inner, asked: asked.clone(), is_upstream: false, silent: None };
    let server = authority.serve_at(ADDRESS, counting).await;
    let managers = managers(&authority, &[ADDRESS]);
    let begin = tokio::time::Instant::now();
    let refused = managers.admission(&channels(&authority), &authority.root, "no token", None).await.unwrap_err();
    assert_eq!(refused.to_string(), "m:1 refused: A valid join token is necessary to join this cluster");
    assert!(begin.elapsed() < PAUSE && asked.load(Ordering::SeqCst) == 1);
    server.end().await;
}

#[test]
fn an_address_has_a_host_and_a_port() {
    for good in ["10.0.0.1:4242", "manager:1", "[::1]:65535", "m.example.com:4242"] {
        assert!(is_address(good), "{good}");
    }
    for bad in ["", ":1", "manager", "manager:", "manager:0", "manager:65536", "manager:-1", "a:b"] {
        assert!(!is_address(bad), "{bad}");
    }
}
