//! Joining: what is tried again, and what is not.

use std::cell::Cell;

use swarmkit_rpc::ConnectError;

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
    let joining = admission(&channels, ADDRESS, &authority.root, &token, &authority.env);
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
    let joined = admission(&channels(&authority), ADDRESS, &authority.root, &token, &authority.env).await;
    assert_eq!(joined.unwrap_err().to_string(), "m:1 took the request and made no certificate in time");
    assert!(begin.elapsed() <= Duration::from_secs(90), "{:?}", begin.elapsed());
    assert_eq!(authority.nodes(), 1);
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
