//! Who is introduced to whom, and that what they say gets there.

use swarmkit_api::wire;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
};

use super::*;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

fn node(address: &str, state: State, driver: &str) -> Arc<Node> {
    let mut node = Node::new(address.into());
    node.status = wire::NodeStatus { state: state.into(), addr: address.to_owned(), ..Default::default() };
    let plugins = vec![wire::PluginDescription { r#type: "Network".into(), name: driver.to_owned() }];
    let engine = Some(wire::EngineDescription { plugins, ..Default::default() });
    node.description = Some(Arc::new(wire::NodeDescription { engine, ..Default::default() }));
    Arc::new(node)
}

fn cluster() -> Vec<Arc<Node>> {
    let plain =
        Node { status: wire::NodeStatus { addr: "10.0.0.9".into(), ..Default::default() }, ..Node::new("m".into()) };
    vec![
        node("10.0.0.1", State::Ready, "overlay"),
        node("10.0.0.2:4711", State::Ready, "overlay"),
        node("10.0.0.3", State::Down, "overlay"),
        node("10.0.0.4", State::Ready, "bridge"),
        node("10.0.0.5", State::Ready, "overlay"),
        Arc::new(plain),
    ]
}

fn told(caller: &str, turn: usize) -> String {
    let others = others(&cluster(), caller.parse().unwrap(), turn);
    others.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn an_engine_is_introduced_to_others_that_are_ready_with_another_one_first_each_turn() {
    assert_eq!(told("10.0.0.1", 0), "10.0.0.2 10.0.0.5");
    assert_eq!(told("10.0.0.1", 1), "10.0.0.5 10.0.0.2");
    assert_eq!(told("::ffff:10.0.0.1", 2), "10.0.0.2 10.0.0.5");
    assert_eq!(told("10.0.0.9", 0), "10.0.0.1 10.0.0.2 10.0.0.5", "a manager may have an engine beside it");
}

#[test]
fn whoever_is_no_node_of_the_cluster_is_introduced_to_nobody() {
    assert_eq!(told("10.0.0.77", 0), "");
    assert!(others(&[node("10.0.0.1", State::Ready, "overlay")], "10.0.0.1".parse().unwrap(), 0).is_empty());
}

/// A listener of the first engine, and one of a manager that introduces to it. 127.0.0.2 is the caller, 127.0.0.4 a node that
/// does not answer.
async fn manager(stop: &CancellationToken) -> (TcpListener, SocketAddr, Crew) {
    let engine = TcpListener::bind("127.0.0.3:0").await.unwrap();
    let port = engine.local_addr().unwrap().port();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let nodes = ["127.0.0.2", "127.0.0.4", "127.0.0.3"].map(|address| node(address, State::Ready, "overlay"));
    let mut crew = Crew::under(stop);
    crew.spawn("introduction", move |stop| introduce_at(listener, port, move || nodes.to_vec(), stop));
    (engine, at, crew)
}

async fn dial(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn what_engines_say_to_each_other_is_passed_on_as_it_is_also_if_the_first_does_not_answer() {
    let stop = CancellationToken::new();
    let (engine, at, crew) = manager(&stop).await;
    let passed = async {
        let mut caller = dial("127.0.0.2", at).await;
        caller.write_all(b"who is there?").await.unwrap();
        caller.shutdown().await.unwrap();
        let (mut called, _) = engine.accept().await.unwrap();
        let mut heard = Vec::new();
        called.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"who is there?");
        called.write_all(b"everybody").await.unwrap();
        drop(called);
        let mut answer = Vec::new();
        caller.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"everybody");
    };
    timeout(PATIENCE, passed).await.unwrap();
    stop.cancel();
    crew.finish().await.unwrap();
}

#[tokio::test]
async fn strangers_hear_nothing() {
    let stop = CancellationToken::new();
    let (_engine, at, crew) = manager(&stop).await;
    let mut stranger = dial("127.0.0.77", at).await;
    let mut answer = Vec::new();
    // Closed, or reset.
    let read = timeout(PATIENCE, stranger.read_to_end(&mut answer)).await.unwrap();
    assert!(read.is_err() || answer.is_empty());
    stop.cancel();
    crew.finish().await.unwrap();
}
