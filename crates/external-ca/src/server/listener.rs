//! The server's connections.

use std::{convert::Infallible, future::pending, io, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Either, Full, Limited, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, SanType, SubjectPublicKeyInfo};
use swarmkit_ca::{Identity, KeySource as _, RootCa, SystemKeys, https_server};
use swarmkit_runtime::{Crew, Env};
use tokio::{net::TcpStream, sync::Semaphore};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_util::sync::CancellationToken;

use super::{
    CfsslServer, Fault, PATH, ServerError, ServerHandle,
    authority::{self, Authority},
};
use crate::{ANSWER_BYTES_MAX, cfssl::Answer};

/// How many connections may be open at once. One too many is closed at once.
const CONNECTIONS_MAX: usize = 256;
/// How large a question may be. A signing request is at most a sixteenth of that.
const QUESTION_BYTES_MAX: usize = 256 * 1024;
/// How long one connection may last, whatever it does.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
/// How long to wait after a connection could not be taken, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the server's own certificate counts.
const OWN_VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);
/// How far back it begins, for clocks that are behind.
const OWN_BACKDATE: Duration = Duration::from_secs(3600);

/// A whole answer, or one in pieces that breaks off.
type Body = Either<Full<Bytes>, StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, io::Error>>>>>;

impl CfsslServer {
    /// Answers until it is told to stop. Its connections have ended when it has.
    ///
    /// # Errors
    ///
    /// Never: a connection that fails is the business of whoever opened it.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        let Self { listener, tls, authority, handle } = self;
        let crew = Crew::under(&stop);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let acceptor = TlsAcceptor::from(tls);
        loop {
            let accepted = tokio::select! { biased; // a server that is to stop takes no connection
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let Ok(place) = places.clone().try_acquire_owned() else { continue };
                    let served = connection(stream, acceptor.clone(), authority.clone(), handle.clone());
                    let (stop, env) = (stop.clone(), authority.env.clone());
                    drop(crew.spawner().spawn("authority connection", async move {
                        let _place = place;
                        tokio::select! { biased; // no connection outlives the server
                            () = stop.cancelled() => {}
                            () = served => {}
                            () = env.sleep(CONNECTION_TIME) => {}
                        }
                    }));
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection to the authority was not taken");
                    authority.env.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        drop(crew.join().await);
        Ok(())
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, authority: Arc<Authority>, handle: ServerHandle) {
    let stream = match acceptor.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%error, "a handshake with the authority failed"),
    };
    let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let client = leaf.map(|leaf| leaf.to_vec()).unwrap_or_default();
    let answer = service_fn(move |request| {
        let (authority, handle, client) = (authority.clone(), handle.clone(), client.clone());
        async move { Ok::<_, Infallible>(respond(request, &authority, &handle, &client).await) }
    });
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await {
        tracing::debug!(%error, "a connection to the authority broke");
    }
}

async fn respond(
    request: Request<Incoming>,
    authority: &Authority,
    handle: &ServerHandle,
    client: &[u8],
) -> Response<Body> {
    if request.method() != Method::POST || request.uri().path() != PATH {
        return response(StatusCode::NOT_FOUND, format!("questions are posted to {PATH}\n"));
    }
    let Ok(question) = Limited::new(request.into_body(), QUESTION_BYTES_MAX).collect().await else {
        return response(StatusCode::PAYLOAD_TOO_LARGE, "");
    };
    handle.note(client);
    let fault = handle.fault();
    let answer = match Identity::from_certificate(client) {
        Ok(_) if fault == Some(Fault::Refusal) => Answer::refusal("not today"),
        Ok(client) => authority.answer(&client, &question.to_bytes(), fault == Some(Fault::Impostor)),
        Err(error) => Answer::refusal(format!("who asks is nobody: {error}")),
    };
    match answer.errors.first() {
        None => tracing::info!("signed"),
        Some(error) => tracing::warn!(reason = error.message, "refused"),
    }
    // Text and truth values: nothing in it can fail to be written.
    let text = serde_json::to_vec(&answer).unwrap_or_default();
    match fault {
        None | Some(Fault::Impostor | Fault::Refusal) => response(StatusCode::OK, text),
        Some(Fault::Status) => response(StatusCode::INTERNAL_SERVER_ERROR, "out of order\n"),
        Some(Fault::Silence) => pending().await,
        Some(Fault::Garbage) => response(StatusCode::OK, "<html>"),
        Some(Fault::Cut) => cut(&text),
        Some(Fault::Flood) => response(StatusCode::OK, vec![b' '; ANSWER_BYTES_MAX + 1]),
    }
}

fn response(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The first half of an answer, and then the end of the connection.
fn cut(text: &[u8]) -> Response<Body> {
    let half = Bytes::copy_from_slice(&text[..text.len() / 2]);
    let frames = vec![Ok(Frame::data(half)), Err(io::Error::other("cut"))];
    Response::new(Either::Right(StreamBody::new(stream::iter(frames))))
}

/// What the server shows, and whom it listens to.
pub(super) fn tls(root: &RootCa, clients: &RootCa, ip: IpAddr, env: &Env) -> Result<Arc<ServerConfig>, ServerError> {
    let failed = |error: rcgen::Error| ServerError::Certificate(error.to_string());
    let (_, issuer) = authority::issuer(root).map_err(ServerError::Certificate)?;
    let key = SystemKeys.generate()?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).map_err(failed)?;
    params.subject_alt_names.push(SanType::IpAddress(ip));
    params.not_before = (env.now() - OWN_BACKDATE).into();
    params.not_after = (env.now() + OWN_VALIDITY).into();
    let public = SubjectPublicKeyInfo::from_der(&key.public_key()).map_err(failed)?;
    let certificate = params.signed_by(&public, &issuer).map_err(failed)?;
    Ok(https_server(clients, vec![certificate.der().clone()], &key, env)?)
}
