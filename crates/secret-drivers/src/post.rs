//! One question over a Unix socket: a connection of its own, in HTTP/1.1, with bounds.

use std::{error::Error, path::Path, pin::pin};

use bytes::Bytes;
use http::{
    Method, Request, StatusCode,
    header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use zeroize::{Zeroize as _, Zeroizing};

/// How long an answer may be, in bytes: a value of the largest size in base64 has 683 KB.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The media type of the protocol, with the version that everyone speaks.
const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";

/// Posts `body`, and gives the answer, whatever its status.
///
/// # Errors
///
/// What stood in the way, in one line.
pub(crate) async fn post(socket: &Path, path: &str, body: Vec<u8>) -> Result<(StatusCode, Zeroizing<Vec<u8>>), String> {
    let stream = UnixStream::connect(socket).await.map_err(|error| format!("{}: {error}", socket.display()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| told(&error))?;
    let exchange = async {
        let response = sender.send_request(request(path, body)?).await.map_err(|error| told(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| told(&*error))?;
        Ok((head.status, kept(body.to_bytes())))
    };
    let (mut exchange, connection) = (pin!(exchange), pin!(connection));
    tokio::select! { biased; // an answer that is complete counts, however the connection ended
        answer = &mut exchange => answer,
        // What came before the end may be an answer, or say what is wrong with it.
        _ = connection => exchange.await,
    }
}

fn request(path: &str, body: Vec<u8>) -> Result<Request<Full<Bytes>>, String> {
    Request::builder()
        .method(Method::POST)
        .uri(path)
        // A socket has no name, and HTTP wants one.
        .header(HOST, "plugin")
        .header(ACCEPT, MEDIA_TYPE)
        .header(CONTENT_TYPE, MEDIA_TYPE)
        .header(CONNECTION, "close")
        .body(Full::from(body))
        .map_err(|error| told(&error))
}

/// The same in memory that is wiped. What it came in is wiped, too, unless somebody else holds it.
fn kept(bytes: Bytes) -> Zeroizing<Vec<u8>> {
    let kept = Zeroizing::new(bytes.to_vec());
    if let Ok(mut unshared) = bytes.try_into_mut() {
        unshared.as_mut().zeroize();
    }
    kept
}

/// An error with what it leaves to its sources, in one line.
fn told(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
