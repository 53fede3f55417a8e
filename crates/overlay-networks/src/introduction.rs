//! How engines find each other.
//!
//! Engines tell each other where containers are (gossip, encrypted with keys that the cluster gives its nodes). To find a
//! first one they dial the managers, since those of their own kind take part in it. A manager of ours does not; it passes the
//! connection on to an engine that does, which then tells the caller of all others. That is done once after a start, and
//! again about once a minute for as long as an engine knows nobody.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use swarmkit_api::{Node, wire::node_status::State};
use swarmkit_runtime::{Crew, Spawner};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::provider::OVERLAY;

/// Where engines talk to each other, as they do and cannot be told otherwise.
pub const GOSSIP_PORT: u16 = 7946;
/// How many engines may be introduced at once. Others are turned away, and come again.
const CONNECTIONS_MAX: usize = 64;
/// How long an introduction may take: what engines tell each other then are a few hundred kilobytes at most.
const CONNECTION_TIME: Duration = Duration::from_secs(30);
/// How long an engine may take to answer before the next one is asked.
const CONNECT_TIME: Duration = Duration::from_secs(2);
/// How many engines are asked.
const ATTEMPTS_MAX: usize = 3;
/// How long to wait after a connection could not be taken, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Introduces engines that connect to `listener` to others, until told to stop. `nodes` are those of the cluster as they are
/// now; whoever is not one of them is turned away. It reads nothing of what engines tell each other, and could not.
///
/// # Errors
///
/// Never: a connection that fails is the business of whoever opened it.
pub async fn introduce<N>(listener: TcpListener, nodes: N, stop: CancellationToken) -> Result<(), Infallible>
where
    N: Fn() -> Vec<Arc<Node>> + Send + Sync,
{
    introduce_at(listener, GOSSIP_PORT, nodes, stop).await
}

async fn introduce_at<N>(listener: TcpListener, port: u16, nodes: N, stop: CancellationToken) -> Result<(), Infallible>
where
    N: Fn() -> Vec<Arc<Node>> + Send + Sync,
{
    // Connections end with it.
    let crew = Crew::under(&stop);
    let (places, turn) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), AtomicUsize::new(0));
    loop {
        let accepted = tokio::select! { biased; // whoever is to stop takes no connection
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, caller)) => {
                let others = others(&nodes(), caller.ip(), turn.fetch_add(1, Ordering::Relaxed));
                // Without anybody to be introduced to the connection is closed at once, and so is one too many.
                if let (false, Ok(place)) = (others.is_empty(), places.clone().try_acquire_owned()) {
                    pass_on(&crew.spawner(), stream, others, port, place);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "an engine could not be introduced");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn pass_on(spawner: &Spawner, mut stream: TcpStream, others: Vec<IpAddr>, port: u16, place: OwnedSemaphorePermit) {
    drop(spawner.spawn("introduction", async move {
        let passed = async {
            let mut other = connect(&others, port).await?;
            copy_bidirectional(&mut stream, &mut other).await
        };
        match timeout(CONNECTION_TIME, passed).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "an engine could not be introduced"),
            Err(_) => tracing::debug!("introducing an engine took too long"),
        }
        drop(place);
    }));
}

/// The first of them that answers.
async fn connect(others: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for other in others {
        match timeout(CONNECT_TIME, TcpStream::connect(SocketAddr::new(*other, port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// Whom an engine is introduced to: others that are ready, beginning with another one each turn, so that groups that have
/// lost each other meet again. Nobody, unless the caller is a node of the cluster.
fn others(nodes: &[Arc<Node>], caller: IpAddr, turn: usize) -> Vec<IpAddr> {
    let caller = caller.to_canonical();
    let address = |node: &Arc<Node>| {
        let text = node.status.addr.as_str();
        let address = text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
        address.map(|address: IpAddr| address.to_canonical())
    };
    if !nodes.iter().any(|node| address(node) == Some(caller)) {
        return Vec::new();
    }
    let carries_overlays = |node: &&Arc<Node>| {
        let engine = node.description.as_ref().and_then(|description| description.engine.as_ref());
        engine.is_some_and(|engine| {
            engine.plugins.iter().any(|plugin| plugin.r#type == "Network" && plugin.name == OVERLAY)
        })
    };
    let ready = nodes.iter().filter(|node| node.status.state() == State::Ready).filter(carries_overlays);
    let mut others: Vec<_> = ready.filter_map(address).filter(|address| *address != caller).collect();
    let first = turn.checked_rem(others.len()).unwrap_or_default();
    others.rotate_left(first);
    others.truncate(ATTEMPTS_MAX);
    others
}

#[cfg(test)]
#[path = "introduction_tests.rs"]
mod tests;
