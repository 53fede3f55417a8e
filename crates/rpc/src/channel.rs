//! One connection to one server, over which any number of calls go.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, Uri, header::USER_AGENT, uri::PathAndQuery};
use http_body_util::BodyExt as _;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use swarmkit_api::access;
use swarmkit_runtime::Spawner;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};

use crate::{
    connect_error::ConnectError,
    deadline,
    executor::CallExecutor,
    limits, measure,
    peer::Origin,
    services::Services,
    transport::{Link, ServerRole, Stream, Transport},
};

/// How long the making of a connection may take, as upstream.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a call that sends one message and gets one may take unless it says otherwise.
const UNARY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the other side may be silent, while calls are open, before it is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long it may take to say so.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(15);

/// How a channel behaves. The defaults are for managers across a network.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    /// How long the making of a connection may take.
    pub connect_timeout: Duration,
    /// The deadline of calls without streams that set none.
    pub unary_timeout: Duration,
    /// After how much silence, while calls are open, the other side is asked whether it lives.
    pub keep_alive: Option<Duration>,
}

/// An open connection to a server, for generated clients. Clones share it.
///
/// It does not reconnect: once broken, every call fails with `Unavailable`, and [`Channels`](crate::Channels) makes a
/// new one. Calls without streams always have a deadline.
#[derive(Clone)]
pub struct Channel(Arc<Shared>);

struct Shared {
    address: String,
    way: Way,
    unary_timeout: Duration,
    server: Origin,
}

/// A call that came to nothing.
pub(crate) struct Lost {
    pub(crate) status: Status,
    /// It may have reached the server.
    pub(crate) sent: bool,
}

enum Way {
    Connection { send: SendRequest<Body>, closed: CancellationToken, fault: Arc<OnceLock<ConnectError>> },
    Here(Services),
}

// === impl ChannelOptions ===

impl Default for ChannelOptions {
    fn default() -> Self {
        Self { connect_timeout: CONNECT_TIMEOUT, unary_timeout: UNARY_TIMEOUT, keep_alive: Some(KEEP_ALIVE) }
    }
}

// === impl Channel ===

impl Channel {
    /// Connects to the server at an address, which must prove that it has `role`.
    ///
    /// The connection stands when the server has spoken: a certificate of ours that it refuses shows here, not in the
    /// first call.
    ///
    /// # Errors
    ///
    /// What stands in the way.
    pub async fn connect(
        transport: &dyn Transport,
        address: &str,
        role: ServerRole,
        options: &ChannelOptions,
        spawner: &Spawner,
    ) -> Result<Self, ConnectError> {
        Self::open(address, transport.dial(address, role), options, spawner, &CancellationToken::new()).await
    }

    /// The same, for a connection that is cut when `over` is cancelled, whoever still holds the channel.
    pub(crate) async fn connect_until(
        over: &CancellationToken,
        transport: &dyn Transport,
        address: &str,
        role: ServerRole,
        options: &ChannelOptions,
        spawner: &Spawner,
    ) -> Result<Self, ConnectError> {
        Self::open(address, transport.dial(address, role), options, spawner, over).await
    }

    /// Calls services of this process without any connection, as its own node.
    #[must_use]
    pub fn here(services: &Services) -> Self {
        Self(Arc::new(Shared {
            address: "this process".to_owned(),
            way: Way::Here(services.clone()),
            unary_timeout: UNARY_TIMEOUT,
            server: Origin::Local,
        }))
    }

    pub(crate) async fn open(
        address: &str,
        dial: impl Future<Output = Result<Link, ConnectError>>,
        options: &ChannelOptions,
        spawner: &Spawner,
        over: &CancellationToken,
    ) -> Result<Self, ConnectError> {
        let after = options.connect_timeout;
        let linked = AtomicBool::new(false);
        let connect = async {
            let Link { mut stream, origin } = dial.await?;
            linked.store(true, Ordering::Relaxed);
            let spoken = first_frame(&mut stream, address).await?;
            let stream = Prefixed { spoken, stream };
            let handshake = builder(options, CallExecutor::new(spawner, over)).handshake(TokioIo::new(stream)).await;
            let (send, connection) = handshake
                .map_err(|error| ConnectError::Closed { address: address.to_owned(), reason: error.to_string() })?;
            Ok((send, connection, origin))
        };
        let connected = tokio::time::timeout(after, connect).await;
        let (send, connection, server) = connected.unwrap_or_else(|_| {
            let address = address.to_owned();
            Err(if linked.load(Ordering::Relaxed) {
                ConnectError::Silent { address, after }
            } else {
                ConnectError::TimedOut { address, after }
            })
        })?;
        let (closed, fault) = (CancellationToken::new(), Arc::new(OnceLock::new()));
        let drive = {
            let (closed, fault, address) = (closed.clone().drop_guard(), fault.clone(), address.to_owned());
            let over = over.clone();
            async move {
                let _closed = closed;
                tokio::select! { biased; // what is cut has no fault of its own
                    () = over.cancelled() => drop(fault.set(stopping(&address))),
                    ended = connection => if let Err(error) = ended {
                        let _ = fault.set(broken(&address, &error));
                    },
                }
            }
        };
        drop(spawner.spawn("channel", drive));
        let way = Way::Connection { send, closed, fault };
        let unary_timeout = options.unary_timeout;
        Ok(Self(Arc::new(Shared { address: address.to_owned(), way, unary_timeout, server })))
    }

    /// What was dialled.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// Who was found there.
    #[must_use]
    pub fn server(&self) -> &Origin {
        &self.0.server
    }

    /// Whether calls can still go out.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match &self.0.way {
            Way::Connection { send, closed, .. } => !closed.is_cancelled() && !send.is_closed(),
            Way::Here(_) => true,
        }
    }

    /// Waits until the connection is gone.
    pub async fn closed(&self) {
        match &self.0.way {
            Way::Connection { closed, .. } => closed.cancelled().await,
            Way::Here(_) => std::future::pending().await,
        }
    }

    /// Sends a request as it is, and gives the answer as it comes.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        self.try_send(request).await.map_err(|lost| lost.status)
    }

    /// The same; a failure says whether anything was sent.
    pub(crate) async fn try_send(&self, request: Request<Body>) -> Result<Response<Body>, Lost> {
        match &self.0.way {
            Way::Here(services) => Ok(services.call(&Origin::Local, request).await),
            Way::Connection { send, fault, .. } => {
                let method = access::method(request.uri().path()).map_or("", |method| method.path);
                let span = tracing::debug_span!("rpc.client", method, code = tracing::field::Empty);
                let lost = |lost: Lost| {
                    measure::failed(&span, lost.status.code());
                    lost
                };
                let request = self.addressed(request).map_err(|status| lost(Lost { status, sent: false }))?;
                let answer = send.clone().try_send_request(request).await;
                let answer = answer.map_err(|mut error| {
                    let sent = error.take_message().is_none();
                    lost(Lost { status: self.lost(fault, error.error()), sent })
                })?;
                let (shared, fault) = (self.clone(), fault.clone());
                let answer = answer.map(|body| Body::new(body.map_err(move |error| shared.lost(&fault, &error))));
                Ok(measure::told(span, answer))
            }
        }
    }

    /// HTTP/2 wants to know where a request goes; generated clients do not say.
    fn addressed(&self, request: Request<Body>) -> Result<Request<Body>, Status> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme("https").authority(ServerRole::Manager.name()).path_and_query(path).build();
        head.uri = uri.map_err(|error| Status::internal(error.to_string()))?;
        const AGENT: &str = concat!("swarmkit-rs/", env!("CARGO_PKG_VERSION"));
        head.headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        Ok(Request::from_parts(head, body))
    }

    /// A broken connection; the driver of the connection often knows better than the call why.
    fn lost(&self, fault: &OnceLock<ConnectError>, error: &hyper::Error) -> Status {
        match fault.get() {
            Some(fault) => fault.clone().into(),
            None => broken(&self.0.address, error).into(),
        }
    }

    /// When a call must be over: when its caller says, else after a while unless it has streams.
    fn timeout(&self, request: &Request<Body>) -> Option<Duration> {
        deadline::timeout(request.headers()).or_else(|| {
            let method = access::method(request.uri().path())?;
            (!method.client_streaming && !method.server_streaming).then_some(self.0.unary_timeout)
        })
    }
}

impl tower::Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Body>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let channel = self.clone();
        Box::pin(async move {
            let Some(timeout) = channel.timeout(&request) else {
                return channel.send(request).await;
            };
            deadline::set_timeout(request.headers_mut(), timeout);
            let until = Instant::now() + timeout;
            let answer = tokio::time::timeout_at(until, channel.send(request)).await;
            let answer = answer.unwrap_or_else(|_| Err(deadline::exceeded()))?;
            Ok(answer.map(|body| deadline::limit(body, until)))
        })
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("address", &self.0.address).field("open", &self.is_open()).finish()
    }
}

/// Why there is no connection any more that was cut here.
pub(crate) fn stopping(address: &str) -> ConnectError {
    ConnectError::Closed { address: address.to_owned(), reason: "this node is stopping".to_owned() }
}

fn builder(options: &ChannelOptions, executor: CallExecutor) -> Builder<CallExecutor> {
    let mut builder = Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(limits::STREAM_WINDOW)
        .initial_connection_window_size(limits::CONNECTION_WINDOW)
        .max_header_list_size(limits::HEADER_BYTES)
        .keep_alive_interval(options.keep_alive)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder
}

fn broken(address: &str, error: &hyper::Error) -> ConnectError {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            return ConnectError::broken(address, error);
        }
        source = inner.source();
    }
    ConnectError::Closed { address: address.to_owned(), reason: error.to_string() }
}

/// Every HTTP/2 server speaks first, and says its settings. Waiting for that costs nothing that the first call would
/// not have to wait for, and shows both who refuses our certificate and who speaks something else.
async fn first_frame(stream: &mut Box<dyn Stream>, address: &str) -> Result<Bytes, ConnectError> {
    const FRAME_HEAD: usize = 9;
    const TYPE: usize = 3;
    const SETTINGS: u8 = 4;
    let mut head = [0; FRAME_HEAD];
    stream.read_exact(&mut head).await.map_err(|error| ConnectError::broken(address, &error))?;
    if head[TYPE] != SETTINGS {
        return Err(ConnectError::NotGrpc { address: address.to_owned() });
    }
    Ok(Bytes::copy_from_slice(&head))
}

/// A stream of which some bytes were read already.
struct Prefixed {
    spoken: Bytes,
    stream: Box<dyn Stream>,
}

impl AsyncRead for Prefixed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.spoken.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let fits = self.spoken.len().min(into.remaining());
        into.put_slice(&self.spoken.split_to(fits));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
