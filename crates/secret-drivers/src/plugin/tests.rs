//! Plugins on real sockets, served by hyper.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use swarmkit_runtime::Crew;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{ANSWER_BYTES_MAX, conformance};

/// A plugin on a socket, which answers as `answer` says.
struct Served {
    drivers: PluginDrivers,
    _dir: tempfile::TempDir,
    _crew: Crew,
}

fn serve(answer: impl Fn(&str, &Value) -> (u16, String) + Clone + Send + Sync + 'static) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("vault.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let crew = Crew::under(&CancellationToken::new());
    let spawner = crew.spawner();
    drop(crew.spawner().spawn("plugin", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer.clone();
                async move {
                    assert_eq!(request.headers()["content-type"], "application/vnd.docker.plugins.v1.2+json");
                    let what = format!("{} {}", request.method(), request.uri().path());
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let (status, text) = answer(&what, &serde_json::from_slice(&body).unwrap());
                    let response = Response::builder().status(status).body(Full::new(Bytes::from(text))).unwrap();
                    Ok::<_, Infallible>(response)
                }
            });
            drop(spawner.spawn("connection", async move {
                drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
            }));
        }
    }));
    Served { drivers: PluginDrivers::new([("vault".to_owned(), socket)]), _dir: dir, _crew: crew }
}

async fn ask(served: &Served, name: &str) -> Result<ProvidedSecret, SecretError> {
    let request = SecretRequest { secret_name: name.into(), ..SecretRequest::default() };
    served.drivers.find("vault").unwrap().get(request).await
}

fn value(text: &str) -> String {
    STANDARD.encode(text)
}

#[tokio::test]
async fn a_plugin_is_asked_by_the_protocol_and_its_value_is_decoded() {
    let served = serve(|what, request| {
        assert_eq!(what, "POST /SecretProvider.GetSecret");
        let name = request["SecretName"].as_str().unwrap();
        (200, json!({ "Value": value(&format!("the {name}")), "DoNotReuse": name == "own" }).to_string())
    });
    let provided = ask(&served, "password").await.unwrap();
    assert_eq!((provided.value.as_slice(), provided.do_not_reuse), (b"the password".as_slice(), false));
    assert!(ask(&served, "own").await.unwrap().do_not_reuse);
    assert!(served.drivers.find("other").is_none());
}

#[tokio::test]
async fn what_a_plugin_says_is_wrong_reaches_who_asked() {
    let served = serve(|_, request| match request["SecretName"].as_str().unwrap() {
        "refused" => (200, json!({ "Err": "sealed" }).to_string()),
        "broken" => (500, "out of memory\n".to_owned()),
        "other" => (200, "Value: hunter2".to_owned()),
        _ => (200, json!({ "Value": "not base64: hunter2" }).to_string()),
    });
    let told = async |name| ask(&served, name).await.unwrap_err();
    assert_eq!(told("refused").await, SecretError::Refused("secret driver vault: sealed".into()));
    let unavailable = |text: &str| SecretError::Unavailable(format!("secret driver vault: {text}"));
    assert_eq!(told("broken").await, unavailable("500 Internal Server Error: out of memory"));
    for odd in ["other", "encoding"] {
        assert_eq!(told(odd).await, unavailable("what it answers is not of the protocol"));
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read_to_its_end() {
    let served = serve(|_, _| (200, "x".repeat(ANSWER_BYTES_MAX + 1)));
    let error = ask(&served, "password").await.unwrap_err().to_string();
    assert!(error.starts_with("secret driver vault: "), "{error}");
}

#[tokio::test]
async fn a_plugin_that_is_not_there_is_told_with_its_socket() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("gone.sock");
    let drivers = PluginDrivers::new([("vault".to_owned(), socket.clone())]);
    let error = drivers.find("vault").unwrap().get(SecretRequest::default()).await.unwrap_err();
    let text = format!("secret driver vault: {}: No such file or directory (os error 2)", socket.display());
    assert_eq!(error, SecretError::Unavailable(text));
}

#[tokio::test]
async fn a_plugin_on_a_socket_keeps_the_obligations_of_a_driver() {
    let served = serve(|_, request| {
        let answer = match request["SecretName"].as_str().unwrap() {
            "missing" => json!({ "Err": "no such secret" }),
            _ => json!({ "Value": value("hunter2") }),
        };
        (200, answer.to_string())
    });
    let wanted = SecretRequest { secret_name: "password".into(), ..SecretRequest::default() };
    conformance::all(&*served.drivers.find("vault").unwrap(), &wanted, "missing").await;
}

#[test]
fn a_plugin_without_a_path_is_where_engines_look_for_it() {
    assert_eq!(PluginDrivers::default_socket("vault"), Path::new("/run/docker/plugins/vault.sock"));
}

#[test]
fn an_answer_without_a_value_is_an_empty_one() {
    assert_eq!(read(b"{}").unwrap().value.len(), 0);
    assert_eq!(read(br#"{"Err":""}"#).unwrap().value.len(), 0);
    assert_eq!(read(b"null"), Err(Wrong::NoAnswer));
}
