//! Serving: from connections that arrive to requests that are answered.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http::Request;
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use swarmkit_api::NodeRole;
use swarmkit_ca::TlsFault;
use swarmkit_runtime::Spawner;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tonic::{Status, body::Body};

use crate::{
    connect_error::ConnectError,
    executor::CrewExecutor,
    limits,
    patience::Patience,
    peer::Origin,
    services::Services,
    strangers::{Strangers, Visit},
    transport::{Arrival, Link, Listener},
};

/// How many connections are served at once: ten thousand agents and some room.
const CONNECTIONS: usize = 16_384;
/// How long a caller may take to say who it is.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long open calls may go on once the server stops. Below the eight seconds that upstream gives a manager.
const DRAIN: Duration = Duration::from_secs(5);
/// How long a client may be silent before it is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// How long it may take to say so.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long to wait after the system would not give a connection: it is short of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// How many connections are served at once; more wait unaccepted.
    pub connections_max: usize,
    /// How long a caller may take to say who it is, and then to say anything.
    pub handshake_timeout: Duration,
    /// How long open calls may go on once the server stops, or a connection is too old.
    pub drain: Duration,
    /// After how long a connection is ended, so that its caller comes back with the certificate it has by then.
    pub connection_age_max: Option<Duration>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            drain: DRAIN,
            connection_age_max: None,
        }
    }
}

/// Serves on one listener until the crew stops, then stops accepting and returns.
///
/// Connections are the crew's: joining it awaits them. Each ends by itself once its open calls are done or the drain
/// is over. End long streams from the crew's token, or they last that long.
pub async fn serve(mut listener: Box<dyn Listener>, services: Services, options: ServerOptions, spawner: Spawner) {
    let places = Arc::new(Semaphore::new(options.connections_max));
    let stop = spawner.stop().clone();
    loop {
        let arrival = async {
            let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((place, listener.accept().await?))
        };
        let arrived = tokio::select! { biased; // a stopping server takes nobody in
            () = stop.cancelled() => return,
            arrived = arrival => arrived,
        };
        match arrived {
            Ok((place, arrival)) => {
                let visit = tokio::select! { biased; // a stopping server takes nobody in
                    () = stop.cancelled() => return,
                    visit = services.strangers().arrive(arrival.addr) => visit,
                };
                let connection = Connection {
                    services: services.clone(),
                    options: options.clone(),
                    spawner: spawner.clone(),
                    _place: place,
                };
                drop(spawner.spawn("connection", connection.run(arrival, visit)));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::select! { biased; // stopping need not wait for the pause
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
}

/// One connection, from its arrival to its end.
struct Connection {
    services: Services,
    options: ServerOptions,
    spawner: Spawner,
    /// Given back when the connection is gone.
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, arrival: Arrival, visit: Visit) {
        let stop = self.spawner.stop().clone();
        let addr = arrival.addr;
        let handshake = tokio::select! { biased; // who has not said who it is has nothing to lose
            () = stop.cancelled() => return,
            () = visit.over() => return displaced(addr),
            handshake = timeout(self.options.handshake_timeout, arrival.handshake) => handshake,
        };
        match handshake {
            Ok(Ok(link)) if self.services.authority().is_member(&link.origin) => {
                drop(visit);
                self.serve(link, None).await;
            }
            Ok(Ok(link)) => self.visited(link, visit).await,
            Ok(Err(error)) => refused(addr, &error, self.services.strangers()),
            Err(_) => tracing::debug!(?addr, "caller did not finish its handshake in time"),
        }
    }

    /// Serves a caller that is not a member, for as long as there is room for it.
    async fn visited(self, link: Link, visit: Visit) {
        visit.is_strangers();
        let addr = link.origin.addr();
        tokio::select! { biased; // its place is another's already
            () = visit.over() => displaced(addr),
            () = self.serve(link, Some(limits::STRANGER_AGE)) => {}
        }
    }

    async fn serve(self, link: Link, stranger: Option<Duration>) {
        let Link { stream, origin } = link;
        let stream = Patience::new(stream, self.options.handshake_timeout);
        let builder = match stranger {
            Some(_) => strangers_builder(&self.spawner),
            None => builder(&self.spawner, streams(&origin)),
        };
        let answer = service_fn(|request: Request<Incoming>| {
            let (services, origin) = (self.services.clone(), origin.clone());
            async move { Ok::<_, Infallible>(services.call(&origin, request.map(body)).await) }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), answer));
        let age = [self.options.connection_age_max, stranger].into_iter().flatten().min();
        let ended = tokio::select! { biased; // a stopping server begins to drain at once
            () = self.spawner.stop().cancelled() => None,
            () = async { tokio::time::sleep(age.unwrap_or_default()).await }, if age.is_some() => None,
            ended = connection.as_mut() => Some(ended),
        };
        let ended = match ended {
            Some(ended) => Ok(ended),
            None => {
                connection.as_mut().graceful_shutdown();
                timeout(self.options.drain, connection).await
            }
        };
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(?origin, %error, "connection broke"),
            Err(_) => tracing::debug!(?origin, "open calls were cut off"),
        }
    }
}

fn builder(spawner: &Spawner, streams: u32) -> http2::Builder<CrewExecutor> {
    let mut builder = http2::Builder::new(CrewExecutor(spawner.clone()));
    builder
        .timer(TokioTimer::new())
        // Its length changes with the time of day, which a simulation would see.
        .auto_date_header(false)
        .max_concurrent_streams(streams)
        .max_pending_accept_reset_streams((streams as usize).min(limits::STREAMS_GIVEN_UP))
        .max_header_list_size(limits::HEADER_BYTES)
        .max_send_buf_size(limits::SEND_BUFFER)
        .initial_stream_window_size(limits::STREAM_WINDOW)
        .initial_connection_window_size(limits::CONNECTION_WINDOW)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder
}

/// For callers that are not members: what they send and leave unread is bounded more tightly.
fn strangers_builder(spawner: &Spawner) -> http2::Builder<CrewExecutor> {
    let mut builder = builder(spawner, limits::STREAMS_OF_STRANGER);
    builder
        .max_header_list_size(limits::STRANGER_HEADER_BYTES)
        .max_send_buf_size(limits::STRANGER_SEND_BUFFER)
        .initial_stream_window_size(limits::STRANGER_WINDOW)
        .initial_connection_window_size(limits::STRANGER_WINDOW);
    builder
}

fn streams(origin: &Origin) -> u32 {
    match origin {
        Origin::Local => limits::STREAMS_OF_MANAGER,
        Origin::Remote { identity: None, .. } => limits::STREAMS_OF_STRANGER,
        Origin::Remote { identity: Some(identity), .. } => match identity.role {
            NodeRole::Worker => limits::STREAMS_OF_WORKER,
            NodeRole::Manager => limits::STREAMS_OF_MANAGER,
        },
    }
}

/// A request's body; that it breaks off means that the caller went away.
fn body(body: Incoming) -> Body {
    Body::new(body.map_err(|error| Status::cancelled(format!("the caller went away: {error}"))))
}

/// A flood would fill the log with it.
fn displaced(addr: Option<SocketAddr>) {
    tracing::debug!(?addr, "there is no room for so many callers without a certificate");
}

/// Says who was not let in. Strays and port scanners are of no interest; nodes with a wrong certificate are, unless they fill
/// the log.
fn refused(addr: Option<SocketAddr>, error: &ConnectError, strangers: &Strangers) {
    match error {
        ConnectError::Tls { fault: TlsFault::NotTls | TlsFault::Closed, .. } | ConnectError::Closed { .. } => {
            tracing::debug!(?addr, %error, "caller did not finish its handshake");
        }
        _ if strangers.may_tell(addr) => tracing::warn!(?addr, %error, "caller refused"),
        _ => tracing::debug!(?addr, %error, "caller refused"),
    }
}
