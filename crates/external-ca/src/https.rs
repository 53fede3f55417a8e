//! One question over HTTPS: a connection of its own, in HTTP/1.1, with bounds.

use std::{error::Error, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    Method, Request, StatusCode, Uri,
    header::{CONNECTION, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use swarmkit_runtime::Env;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::ClientConfig};

/// How long one address may take to answer, from its name to the last byte. As upstream.
pub const QUESTION_TIME: Duration = Duration::from_secs(5);
/// How long an answer may be. A certificate of an RSA key with every common extension has 3 KB. As upstream.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// The port where nothing else is said.
const HTTPS_PORT: u16 = 443;

/// An address, understood.
struct Address {
    host: String,
    port: u16,
    uri: Uri,
}

/// Posts `body` as JSON, and gives the answer, whatever its status.
///
/// # Errors
///
/// What stood in the way, in one line.
pub(crate) async fn post(
    url: &str,
    body: Vec<u8>,
    tls: Arc<ClientConfig>,
    env: &Env,
) -> Result<(StatusCode, Bytes), String> {
    let address = Address::parse(url)?;
    within(env, async {
        let stream = connect(&address, tls).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| told(&error))?;
        let exchange = async {
            let response = sender.send_request(request(&address, body)?).await.map_err(|error| told(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| told(&*error))?;
            Ok((head.status, body.to_bytes()))
        };
        let (mut exchange, connection) = (pin!(exchange), pin!(connection));
        tokio::select! { biased; // an answer that is complete counts, however the connection ended
            answer = &mut exchange => answer,
            // What came before the end may be an answer, or say what is wrong with it.
            _ = connection => exchange.await,
        }
    })
    .await
}

/// Finds out whether there is a server with a certificate that `tls` believes.
///
/// # Errors
///
/// What stood in the way, in one line.
pub(crate) async fn reach(url: &str, tls: Arc<ClientConfig>, env: &Env) -> Result<(), String> {
    let address = Address::parse(url)?;
    within(env, async { connect(&address, tls).await.map(drop) }).await
}

async fn within<T>(env: &Env, question: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::select! { biased; // an answer that came in time counts
        answer = question => answer,
        () = env.sleep(QUESTION_TIME) => Err(format!("no answer within {} seconds", QUESTION_TIME.as_secs())),
    }
}

async fn connect(address: &Address, tls: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(address.host.clone()).map_err(|error| told(&error))?;
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(|error| told(&error))?;
    TlsConnector::from(tls).connect(name, stream).await.map_err(|error| told(&error))
}

fn request(address: &Address, body: Vec<u8>) -> Result<Request<Full<Bytes>>, String> {
    let path = address.uri.path_and_query().map_or("/", |path| path.as_str());
    let host = match address.uri.port() {
        Some(port) => format!("{}:{port}", address.uri.host().unwrap_or_default()),
        None => address.uri.host().unwrap_or_default().to_owned(),
    };
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(HOST, host)
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close")
        .body(Full::from(body))
        .map_err(|error| told(&error))
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

impl Address {
    fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("not a URL: {error}"))?;
        if uri.scheme_str() != Some("https") {
            return Err("only https URLs are asked".to_owned());
        }
        // The brackets of an address of IPv6 belong to the URL.
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
        if host.is_empty() {
            return Err("the URL names no host".to_owned());
        }
        Ok(Self { host, port: uri.port_u16().unwrap_or(HTTPS_PORT), uri })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Result<(String, u16), String> {
        Address::parse(url).map(|address| (address.host, address.port))
    }

    #[test]
    fn an_address_is_https_and_names_a_host() {
        assert_eq!(parsed("https://ca.example/sign?x=1").unwrap(), ("ca.example".to_owned(), 443));
        assert_eq!(parsed("https://user:word@127.0.0.1:8443/").unwrap(), ("127.0.0.1".to_owned(), 8443));
        assert_eq!(parsed("https://[::1]:1/sign").unwrap(), ("::1".to_owned(), 1));
        for url in ["http://ca.example", "ca.example:443", "/sign", "ftp://ca.example", "https://", "ht tps://x", ""] {
            assert!(parsed(url).is_err(), "{url:?}");
        }
    }

    #[test]
    fn a_request_is_json_for_one_answer_and_shows_no_password() {
        let address = Address::parse("https://user:word@[::1]:8443/api/sign?a=b").unwrap();
        let request = request(&address, b"{}".to_vec()).unwrap();
        assert_eq!((request.method(), request.uri().to_string().as_str()), (&Method::POST, "/api/sign?a=b"));
        let header = |name| request.headers()[name].to_str().unwrap();
        assert_eq!((header("host"), header("content-type")), ("[::1]:8443", "application/json"));
        assert_eq!(header("connection"), "close");
        let address = Address::parse("https://ca.example").unwrap();
        let request = super::request(&address, Vec::new()).unwrap();
        assert_eq!((request.uri().path(), request.headers()["host"].to_str().unwrap()), ("/", "ca.example"));
    }
}
