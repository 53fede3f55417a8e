//! `GET /metrics` over plain HTTP.

use std::{convert::Infallible, io, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header::CONTENT_TYPE, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use swarmkit_runtime::{Crew, Spawner};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::Registry;

/// The format that the text is in.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How many connections may be open at once. Whoever scrapes needs one.
const CONNECTIONS_MAX: usize = 16;

/// A connection is closed after so long, whatever it does.
const CONNECTION_TIME: Duration = Duration::from_secs(60);

/// How long to wait after a connection could not be taken, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers until it is told to stop.
///
/// # Errors
///
/// Never: a connection that fails is the business of whoever opened it.
pub async fn serve(listener: TcpListener, registry: Registry, stop: CancellationToken) -> io::Result<()> {
    let crew = Crew::under(&stop);
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! { biased; // a server that is to stop takes no connection
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // One too many is closed at once.
            Ok((stream, _)) => {
                if let Ok(place) = places.clone().try_acquire_owned() {
                    connection(&crew.spawner(), stream, registry.clone(), place);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a connection for metrics was not taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(crew);
    Ok(())
}

fn connection(spawner: &Spawner, stream: TcpStream, registry: Registry, place: tokio::sync::OwnedSemaphorePermit) {
    drop(spawner.spawn("metrics connection", async move {
        let _place = place;
        let answer = service_fn(move |request| {
            let registry = registry.clone();
            async move { Ok::<_, Infallible>(answer(&request, &registry).await) }
        });
        let serve = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
        drop(tokio::time::timeout(CONNECTION_TIME, serve).await);
    }));
}

async fn answer(request: &Request<Incoming>, registry: &Registry) -> Response<Full<Bytes>> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            registry.measured().refresh(tokio::time::Instant::now()).await;
            match registry.text() {
                Ok(text) => (StatusCode::OK, OPEN_METRICS, text),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
            }
        }
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
