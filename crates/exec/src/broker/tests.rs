//! Clients and nodes, as streams in this process.

use futures_util::StreamExt as _;
use swarmkit_api::{
    NodeRole,
    wire::swarmkit::exec::v1::{Call, Command, Data, Failure, Started, call, input, output},
};
use swarmkit_ca::Identity;
use swarmkit_runtime::Crew;
use tokio::sync::mpsc;

use super::*;

struct World {
    broker: ExecBroker,
    crew: Crew,
    term: CancellationToken,
}

/// One end of a call.
struct End<I, O> {
    say: mpsc::Sender<Result<I, Status>>,
    hear: O,
}

impl World {
    async fn new() -> Self {
        let store = swarmkit_testing::store("node a; node b; service w; task w.1 on a running; task w.2 on b running");
        let broker = ExecBroker::new(swarmkit_testing::env(), store);
        let world = Self { broker, crew: Crew::under(&CancellationToken::new()), term: CancellationToken::new() };
        let (broker, term) = (world.broker.clone(), world.term.clone());
        drop(world.crew.spawner().spawn("term", async move { broker.run(term).await.unwrap() }));
        while world.broker.term().is_err() {
            tokio::task::yield_now().await;
        }
        world
    }

    fn listen(&self, node: &str) -> Listener {
        let term = self.broker.term().unwrap();
        let listening = term.desk.lock().listen(node.into());
        Listener { term, listening }
    }

    async fn open(&self, task: &str) -> Result<End<OpenRequest, Reading>, ExecError> {
        let (say, hear) = streams();
        say.try_send(Ok(OpenRequest { message: Some(open_request::Message::Call(command(task))) })).unwrap();
        let hear = self.broker.begin(&peer("m", NodeRole::Manager), hear).await?;
        Ok(End { say, hear })
    }

    async fn serve(&self, node: &str, id: &str) -> Result<End<ServeRequest, Feeding>, ExecError> {
        let (say, hear) = streams();
        say.try_send(Ok(ServeRequest { message: Some(serve_request::Message::Id(id.to_owned())) })).unwrap();
        let hear = self.broker.serve_call(&peer(node, NodeRole::Worker), hear).await?;
        Ok(End { say, hear })
    }

    /// A call to `w.1` that its node serves.
    async fn served(&self) -> (End<OpenRequest, Reading>, End<ServeRequest, Feeding>) {
        let mut listener = self.listen("a");
        let client = self.open("w.1").await.unwrap();
        let id = listener.next().await.unwrap().id;
        (client, self.serve("a", &id).await.unwrap())
    }
}

/// Both ends of a stream.
type Ends<T> = (mpsc::Sender<Result<T, Status>>, BoxStream<'static, Result<T, Status>>);

fn streams<T: Send + 'static>() -> Ends<T> {
    let (say, receiver) = mpsc::channel(1);
    let hear = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    (say, hear.boxed())
}

fn command(task: &str) -> Call {
    let command = Command { args: vec!["id".into()], ..Default::default() };
    Call { task_id: task.into(), kind: Some(call::Kind::Command(command)), ..Default::default() }
}

fn peer(node: &str, role: NodeRole) -> Peer {
    let identity = Some(Identity::new(node.into(), role, "c".into()));
    Peer { identity, addr: None, local: false, forwarded_by: None }
}

impl End<OpenRequest, Reading> {
    async fn input(&self, kind: input::Kind) {
        let input = Input { kind: Some(kind) };
        self.say.send(Ok(OpenRequest { message: Some(open_request::Message::Input(input)) })).await.unwrap();
    }
}

impl End<ServeRequest, Feeding> {
    async fn output(&self, kind: output::Kind) {
        let output = Output { kind: Some(kind) };
        self.say.send(Ok(ServeRequest { message: Some(serve_request::Message::Output(output)) })).await.unwrap();
    }
}

fn data(length: usize) -> Data {
    Data { data: vec![7; length].into() }
}

#[tokio::test(start_paused = true)]
async fn what_each_side_says_is_heard_by_the_other_until_the_end() {
    let world = World::new().await;
    let (mut client, mut node) = world.served().await;
    node.output(output::Kind::Started(Started {})).await;
    assert!(matches!(client.hear.next().await.unwrap().unwrap().kind, Some(output::Kind::Started(_))));
    client.input(input::Kind::Stdin(data(3))).await;
    assert_eq!(node.hear.next().await.unwrap().unwrap().kind, Some(input::Kind::Stdin(data(3))));
    drop(client.say);
    assert!(
        matches!(node.hear.next().await.unwrap().unwrap().kind, Some(input::Kind::End(_))),
        "as it may be said too"
    );
    node.output(output::Kind::Stdout(data(65_536))).await;
    assert_eq!(client.hear.next().await.unwrap().unwrap().kind, Some(output::Kind::Stdout(data(65_536))));
    node.output(output::Kind::Exited(3)).await;
    assert_eq!(client.hear.next().await.unwrap().unwrap().kind, Some(output::Kind::Exited(3)));
    assert!(client.hear.next().await.is_none());
    drop(client.hear);
    assert!(node.hear.next().await.is_none());
    assert!(node.say.is_closed(), "nothing is kept of it");
}

#[tokio::test(start_paused = true)]
async fn a_call_is_served_by_the_node_of_its_task_and_once() {
    let world = World::new().await;
    let mut listener = world.listen("a");
    let _client = world.open("w.1").await.unwrap();
    let id = listener.next().await.unwrap().id;
    assert_eq!(world.serve("b", &id).await.err(), Some(ExecError::UnknownCall), "not its task");
    assert_eq!(world.serve("a", "guess").await.err(), Some(ExecError::UnknownCall));
    let _node = world.serve("a", &id).await.unwrap();
    assert_eq!(world.serve("a", &id).await.err(), Some(ExecError::UnknownCall), "it is served");
    let mut other = world.listen("b");
    let nothing = tokio::time::timeout(Duration::from_secs(1), other.next()).await;
    assert!(nothing.is_err(), "others are told nothing");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_takes_no_calls_is_named_at_once_and_one_that_does_not_come_soon() {
    let world = World::new().await;
    let begin = Instant::now();
    let mut client = world.open("w.1").await.unwrap();
    let told = client.hear.next().await.unwrap().unwrap_err();
    assert!(matches!(&told, ExecError::Deaf(node) if node.contains('a')), "{told}");
    assert_eq!(begin.elapsed(), ANSWER_OF_DEAF);
    assert!(client.hear.next().await.is_none());

    let _listener = world.listen("a");
    let mut client = world.open("w.1").await.unwrap();
    let told = client.hear.next().await.unwrap().unwrap_err();
    assert!(matches!(&told, ExecError::Silent(_)), "{told}");
    assert_eq!(begin.elapsed(), ANSWER_OF_DEAF + ANSWER);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_opens_its_session_anew_finds_the_call() {
    let world = World::new().await;
    let before = world.listen("a");
    drop(before);
    let mut client = world.open("w.1").await.unwrap();
    let mut listener = world.listen("a");
    let id = listener.next().await.unwrap().id;
    drop(listener);
    let node = world.serve("a", &id).await.unwrap();
    node.output(output::Kind::Exited(0)).await;
    assert!(client.hear.next().await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_ends_the_call_and_a_node_that_goes_is_told() {
    let world = World::new().await;
    let (client, mut node) = world.served().await;
    drop(client.hear);
    assert!(node.hear.next().await.is_none(), "without a word of an end");

    let (mut client, node) = world.served().await;
    drop(node.say);
    let told = client.hear.next().await.unwrap().unwrap_err();
    assert!(matches!(&told, ExecError::Lost(_)), "{told}");
    let (client, mut node) = world.served().await;
    client.say.send(Err(Status::cancelled("reset"))).await.unwrap();
    assert!(node.hear.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_leader_is_told() {
    let world = World::new().await;
    let (mut client, _node) = world.served().await;
    world.term.cancel();
    assert_eq!(client.hear.next().await.unwrap().unwrap_err(), ExecError::LeaderChanged);
    assert!(client.hear.next().await.is_none());
    while world.broker.term().is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.open("w.1").await.err(), Some(ExecError::NotRunning));
}

#[tokio::test(start_paused = true)]
async fn there_are_so_many_calls_to_a_node_and_an_end_makes_room() {
    let world = World::new().await;
    let _listener = world.listen("a");
    let mut clients = Vec::new();
    for _ in 0..CALLS_PER_NODE {
        clients.push(world.open("w.1").await.unwrap());
    }
    let refused = world.open("w.1").await.err().unwrap();
    assert!(matches!(refused, ExecError::TooMany(CALLS_PER_NODE, _)), "{refused}");
    assert!(world.open("w.2").await.is_ok(), "other nodes have their own");
    clients.pop();
    assert!(world.open("w.1").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_sent_ends_the_call() {
    let world = World::new().await;
    let (client, mut node) = world.served().await;
    client.input(input::Kind::Stdin(data(65_537))).await;
    assert!(matches!(node.hear.next().await.unwrap(), Err(ExecError::Protocol(_))));
    let (client, mut node) = world.served().await;
    client.say.send(Ok(OpenRequest { message: Some(open_request::Message::Call(command("w.1"))) })).await.unwrap();
    assert!(matches!(node.hear.next().await.unwrap(), Err(ExecError::Protocol(_))));
    let (mut client, node) = world.served().await;
    node.output(output::Kind::Stderr(data(65_537))).await;
    assert!(matches!(client.hear.next().await.unwrap(), Err(ExecError::Protocol(_))));

    // A stream that does not begin with a call ends too, and one that does not begin at all.
    let (say, hear) = streams();
    say.send(Ok(OpenRequest::default())).await.unwrap();
    assert!(matches!(world.broker.begin(&peer("m", NodeRole::Manager), hear).await, Err(ExecError::Protocol(_))));
    let (_say, hear) = streams();
    assert!(matches!(world.broker.begin(&peer("m", NodeRole::Manager), hear).await, Err(ExecError::NoCall)));
}

#[tokio::test(start_paused = true)]
async fn what_a_node_says_of_a_failure_comes_as_it_is() {
    let world = World::new().await;
    let (mut client, node) = world.served().await;
    let failure = Failure { message: "no such program".into(), ..Default::default() };
    node.output(output::Kind::Failure(failure.clone())).await;
    assert_eq!(client.hear.next().await.unwrap().unwrap().kind, Some(output::Kind::Failure(failure)));
    assert!(client.hear.next().await.is_none());
}
