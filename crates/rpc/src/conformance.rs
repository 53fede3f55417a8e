//! What every transport must do, as a suite that an implementation runs against itself.

use futures_util::FutureExt as _;
use swarmkit_api::NodeRole;
use swarmkit_ca::Identity;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    peer::Origin,
    transport::{Link, Listener, ServerRole, Transport},
};

/// Runs the suite: `make` gives the way of a node into one and the same network, and of a node that has no identity
/// yet. `address` gives an unused place to listen at, another one each time.
///
/// # Panics
///
/// When an obligation is not met, with its name.
pub async fn transport<T: Transport>(make: impl Fn(Option<Identity>) -> T, address: impl Fn() -> String) {
    let case = Case { make, address };
    case.both_ends_know_each_other().await;
    case.who_has_no_identity_is_nobody().await;
    case.only_a_manager_is_called_as_one().await;
    case.bytes_go_both_ways_and_the_end_is_seen().await;
    case.nobody_there_is_an_error().await;
    case.giving_up_loses_no_connection().await;
    case.an_address_is_taken_once().await;
}

struct Case<F, A> {
    make: F,
    address: A,
}

fn node(name: &str, role: NodeRole) -> Identity {
    Identity::new(name.into(), role, "conformance".into())
}

fn identity(link: &Link) -> Option<&Identity> {
    match &link.origin {
        Origin::Remote { identity, .. } => identity.as_ref(),
        Origin::Local => None,
    }
}

async fn arrive(listener: &mut dyn Listener) -> Link {
    let arrival = listener.accept().await.expect("accept: a connection arrives");
    arrival.handshake.await.expect("accept: it says who it is")
}

impl<T, F, A> Case<F, A>
where
    T: Transport,
    F: Fn(Option<Identity>) -> T,
    A: Fn() -> String,
{
    fn node(&self, name: &str, role: NodeRole) -> T {
        (self.make)(Some(node(name, role)))
    }

    /// A manager that listens, and where.
    async fn manager(&self) -> (Box<dyn Listener>, String) {
        self.listening(&self.node("manager", NodeRole::Manager)).await
    }

    async fn listening(&self, node: &T) -> (Box<dyn Listener>, String) {
        let address = (self.address)();
        let listener = node.listen(&address).await.expect("listen: an unused address can be taken");
        let address = listener.local_addr().map_or(address, |addr| addr.to_string());
        (listener, address)
    }

    /// Two ends of one connection.
    async fn pair(&self, caller: &T) -> (Link, Link) {
        let (mut listener, address) = self.manager().await;
        let dialled = caller.dial(&address, ServerRole::Manager);
        let (near, far) = tokio::join!(dialled, arrive(&mut *listener));
        (near.expect("dial: a manager that listens is reached"), far)
    }

    async fn both_ends_know_each_other(&self) {
        let (near, far) = self.pair(&self.node("worker", NodeRole::Worker)).await;
        let name = "origin: each end learns who the other is";
        assert_eq!(identity(&near), Some(&node("manager", NodeRole::Manager)), "{name}");
        assert_eq!(identity(&far), Some(&node("worker", NodeRole::Worker)), "{name}");
    }

    async fn who_has_no_identity_is_nobody(&self) {
        let (mut listener, address) = self.manager().await;
        let stranger = (self.make)(None);
        let dialled = stranger.dial(&address, ServerRole::Authority);
        let (near, far) = tokio::join!(dialled, arrive(&mut *listener));
        assert!(near.is_ok(), "dial: a node without identity reaches the authority");
        assert_eq!(identity(&far), None, "origin: a node without identity is nobody");
    }

    async fn only_a_manager_is_called_as_one(&self) {
        let (mut listener, address) = self.listening(&self.node("worker", NodeRole::Worker)).await;
        let manager = self.node("manager", NodeRole::Manager);
        for role in [ServerRole::Manager, ServerRole::Authority] {
            let answer = async {
                if let Ok(arrival) = listener.accept().await {
                    let _ = arrival.handshake.await;
                }
                std::future::pending::<()>().await;
            };
            let refused = tokio::select! { biased; // whoever is refused needs no answer
                dialled = manager.dial(&address, role) => dialled.is_err(),
                () = answer => false,
            };
            assert!(refused, "dial: a worker that listens is not called as {role:?}");
        }
    }

    async fn bytes_go_both_ways_and_the_end_is_seen(&self) {
        let (mut near, mut far) = self.pair(&self.node("worker", NodeRole::Worker)).await;
        let sent: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let (mut there, mut back) = (Vec::new(), Vec::new());
        let name = "stream: bytes arrive in order, and closing is seen after them";
        let out = async {
            near.stream.write_all(&sent).await.expect(name);
            near.stream.shutdown().await.expect(name);
            near.stream.read_to_end(&mut back).await.expect(name);
        };
        let echo = async {
            far.stream.read_to_end(&mut there).await.expect(name);
            far.stream.write_all(b"all of it").await.expect(name);
            far.stream.shutdown().await.expect(name);
        };
        tokio::join!(out, echo);
        assert!(there == sent && back == b"all of it", "{name}");
    }

    async fn nobody_there_is_an_error(&self) {
        let (listener, address) = self.manager().await;
        drop(listener);
        let caller = self.node("worker", NodeRole::Worker);
        let dialled = caller.dial(&address, ServerRole::Manager).await;
        assert!(dialled.is_err(), "dial: where nobody listens, nobody is reached");
    }

    async fn giving_up_loses_no_connection(&self) {
        let (mut listener, address) = self.manager().await;
        let given_up = listener.accept().now_or_never();
        assert!(given_up.is_none(), "accept: nobody has called yet");
        let caller = self.node("worker", NodeRole::Worker);
        let dialled = caller.dial(&address, ServerRole::Manager);
        let (near, far) = tokio::join!(dialled, arrive(&mut *listener));
        assert!(near.is_ok(), "accept: giving up loses no connection");
        assert!(identity(&far).is_some());
    }

    async fn an_address_is_taken_once(&self) {
        let (_listener, address) = self.manager().await;
        let again = self.node("manager", NodeRole::Manager);
        assert!(again.listen(&address).await.is_err(), "listen: an address in use is refused");
    }
}
