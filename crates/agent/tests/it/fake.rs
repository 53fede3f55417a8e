//! A manager that does what a test says.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::BoxStream};
use parking_lot::Mutex;
use swarmkit_agent::{
    Agent, AgentBuilder, AgentHandle, Call, ConnectError, Connection, Experience, ManagerClient, Managers, Messages,
};
use swarmkit_api::wire;
use swarmkit_executor::{Executor, InertExecutor, Machine};
use swarmkit_runtime::{Crew, Env};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// How one call is answered.
pub(crate) enum Answer<T> {
    Give(T),
    Refuse(Status),
    /// Never answered.
    Hang,
}

/// What was called, and what the next calls are answered. A call for which nothing is laid out gets what an ordinary
/// manager would say.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Shared>);

#[derive(Default)]
struct Shared {
    calls: Mutex<Vec<String>>,
    sessions: Mutex<VecDeque<Answer<Messages<wire::SessionMessage>>>>,
    heartbeats: Mutex<VecDeque<Answer<Duration>>>,
    assignments: Mutex<VecDeque<Answer<Messages<wire::AssignmentsMessage>>>>,
    tasks: Mutex<VecDeque<Answer<Messages<wire::TasksMessage>>>>,
    statuses: Mutex<VecDeque<Answer<()>>>,
    /// The last state of each task in a report that was taken.
    taken: Mutex<BTreeMap<String, &'static str>>,
    learned: Mutex<Vec<wire::WeightedPeer>>,
    closed: Mutex<Vec<Experience>>,
}

/// An agent of that manager.
pub(crate) struct Node {
    pub(crate) manager: Fake,
    pub(crate) handle: AgentHandle,
    pub(crate) machine: Machine,
    pub(crate) tls_info: watch::Sender<Option<wire::NodeTlsInfo>>,
    pub(crate) stop: CancellationToken,
    crew: Crew,
}

/// The other end of a stream that a test feeds.
pub(crate) struct Feed<T>(mpsc::Sender<Result<T, Status>>);

impl<T: Send + 'static> Feed<T> {
    pub(crate) fn new() -> (Self, Messages<T>) {
        let (sender, receiver) = mpsc::channel(16);
        (Self(sender), tokio_stream::wrappers::ReceiverStream::new(receiver).boxed())
    }

    pub(crate) async fn send(&self, message: T) {
        self.0.send(Ok(message)).await.expect("somebody reads");
    }

    pub(crate) async fn fail(&self, status: Status) {
        self.0.send(Err(status)).await.expect("somebody reads");
    }

    /// Whether the reader has gone.
    pub(crate) async fn abandoned(&self) {
        self.0.closed().await;
    }
}

/// A stream of one message that does not end.
fn lasting<T: Send + 'static>(message: T) -> Messages<T> {
    futures_util::stream::iter([Ok(message)]).chain(futures_util::stream::pending()).boxed()
}

pub(crate) fn session_message(id: &str) -> wire::SessionMessage {
    wire::SessionMessage { session_id: id.into(), ..Default::default() }
}

impl Fake {
    pub(crate) fn next_session(&self, answer: Answer<Messages<wire::SessionMessage>>) {
        self.0.sessions.lock().push_back(answer);
    }

    pub(crate) fn next_heartbeat(&self, answer: Answer<Duration>) {
        self.0.heartbeats.lock().push_back(answer);
    }

    pub(crate) fn next_assignments(&self, answer: Answer<Messages<wire::AssignmentsMessage>>) {
        self.0.assignments.lock().push_back(answer);
    }

    pub(crate) fn next_tasks(&self, answer: Answer<Messages<wire::TasksMessage>>) {
        self.0.tasks.lock().push_back(answer);
    }

    pub(crate) fn next_status(&self, answer: Answer<()>) {
        self.0.statuses.lock().push_back(answer);
    }

    /// The calls so far that begin with a word.
    pub(crate) fn calls(&self, word: &str) -> Vec<String> {
        self.0.calls.lock().iter().filter(|call| call.starts_with(word)).cloned().collect()
    }

    /// The last state of each task that this manager was told, and has taken.
    pub(crate) fn taken(&self) -> BTreeMap<String, &'static str> {
        self.0.taken.lock().clone()
    }

    pub(crate) fn learned(&self) -> Vec<wire::WeightedPeer> {
        self.0.learned.lock().clone()
    }

    pub(crate) fn closed(&self) -> Vec<Experience> {
        self.0.closed.lock().clone()
    }

    /// Starts an agent on an inert machine.
    pub(crate) fn start(self) -> Node {
        let env = swarmkit_testing::env();
        let machine = Machine::new(env.clone());
        let executor = InertExecutor::on(machine.clone()).hostname("a");
        self.start_with(env, executor, machine)
    }

    pub(crate) fn start_with(self, env: Env, executor: impl Executor, machine: Machine) -> Node {
        self.start_as(env, executor, machine, |builder| builder)
    }

    /// The same, with an agent that is told something else as well.
    pub(crate) fn start_as(
        self,
        env: Env,
        executor: impl Executor,
        machine: Machine,
        told: impl FnOnce(AgentBuilder) -> AgentBuilder,
    ) -> Node {
        let (tls_info, receiver) = watch::channel(None);
        let builder = Agent::builder(env, Arc::new(executor), Arc::new(self.clone()), "");
        let agent = told(builder.without_disk().tls_info(receiver)).build().unwrap();
        let stop = CancellationToken::new();
        let crew = Crew::under(&stop);
        let handle = agent.handle();
        drop(crew.spawner().spawn("agent", agent.run(stop.clone())));
        Node { manager: self, handle, machine, tls_info, stop, crew }
    }

    fn note(&self, call: String) {
        self.0.calls.lock().push(call);
    }

    fn answer<T: Send + 'static>(
        queue: &Mutex<VecDeque<Answer<T>>>,
        otherwise: impl FnOnce() -> T,
    ) -> BoxFuture<'static, Result<T, Status>> {
        match queue.lock().pop_front() {
            None => std::future::ready(Ok(otherwise())).boxed(),
            Some(Answer::Give(answer)) => std::future::ready(Ok(answer)).boxed(),
            Some(Answer::Refuse(status)) => std::future::ready(Err(status)).boxed(),
            Some(Answer::Hang) => std::future::pending().boxed(),
        }
    }
}

impl Node {
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.crew.join().await;
    }
}

impl Managers for Fake {
    fn connect(&self) -> BoxFuture<'_, Result<Connection, ConnectError>> {
        let fake = self.clone();
        let connection =
            Connection::new(Arc::new(self.clone()), move |experience| fake.0.closed.lock().push(experience));
        std::future::ready(Ok(connection)).boxed()
    }

    fn learn(&self, managers: &[wire::WeightedPeer]) {
        *self.0.learned.lock() = managers.to_vec();
    }
}

impl ManagerClient for Fake {
    fn session(&self, request: wire::SessionRequest) -> Call<'_, Messages<wire::SessionMessage>> {
        let description = request.description.unwrap_or_default();
        let tls = description.tls_info.map(|info| String::from_utf8_lossy(&info.trust_root).into_owned());
        let said = format!("session {} {} {}", request.session_id, description.hostname, tls.unwrap_or_default());
        let fips = if description.fips { " fips" } else { "" };
        self.note(format!("{}{fips}", said.trim_end()));
        Self::answer(&self.0.sessions, || lasting(session_message("s1")))
    }

    fn heartbeat(&self, request: wire::HeartbeatRequest) -> Call<'_, wire::HeartbeatResponse> {
        self.note(format!("heartbeat {}", request.session_id));
        let period = Self::answer(&self.0.heartbeats, || Duration::from_secs(5));
        period
            .map(|period| Ok(wire::HeartbeatResponse { period: prost_types::Duration::try_from(period?).ok() }))
            .boxed()
    }

    fn update_task_status(&self, request: wire::UpdateTaskStatusRequest) -> Call<'_, wire::UpdateTaskStatusResponse> {
        let updates = request.updates.into_iter();
        let updates: Vec<_> = updates.map(|it| (it.task_id, it.status.unwrap().state().as_str_name())).collect();
        let words: Vec<_> = updates.iter().map(|(task, state)| format!("{task} {state}")).collect();
        self.note(format!("status {}", words.join(", ")));
        let answer = Self::answer(&self.0.statuses, || ());
        async move {
            answer.await?;
            self.0.taken.lock().extend(updates);
            Ok(wire::UpdateTaskStatusResponse {})
        }
        .boxed()
    }

    fn update_volume_status(
        &self,
        request: wire::UpdateVolumeStatusRequest,
    ) -> Call<'_, wire::UpdateVolumeStatusResponse> {
        let gone = request.updates.iter().filter(|update| update.unpublished).map(|update| update.id.clone());
        self.note(format!("volumes {}", gone.collect::<Vec<_>>().join(", ")));
        std::future::ready(Ok(wire::UpdateVolumeStatusResponse {})).boxed()
    }

    fn assignments(&self, request: wire::AssignmentsRequest) -> Call<'_, Messages<wire::AssignmentsMessage>> {
        self.note(format!("assignments {}", request.session_id));
        Self::answer(&self.0.assignments, || futures_util::stream::pending().boxed())
    }

    fn tasks(&self, request: wire::TasksRequest) -> Call<'_, Messages<wire::TasksMessage>> {
        self.note(format!("tasks {}", request.session_id));
        Self::answer(&self.0.tasks, || futures_util::stream::pending().boxed())
    }

    fn listen_subscriptions(
        &self,
        _: wire::ListenSubscriptionsRequest,
    ) -> Call<'_, Messages<wire::SubscriptionMessage>> {
        std::future::ready(Err(Status::unimplemented("no logs here"))).boxed()
    }

    fn attach_network(&self, request: wire::AttachNetworkRequest) -> Call<'_, wire::AttachNetworkResponse> {
        let target = request.config.unwrap_or_default().target;
        self.note(format!("attach {} to {target}", request.container_id));
        let answer = match target.as_str() {
            "none" => Err(Status::not_found("network none not found")),
            _ => Ok(wire::AttachNetworkResponse { attachment_id: "at1".into() }),
        };
        std::future::ready(answer).boxed()
    }

    fn detach_network(&self, request: wire::DetachNetworkRequest) -> Call<'_, wire::DetachNetworkResponse> {
        self.note(format!("detach {}", request.attachment_id));
        std::future::ready(Ok(wire::DetachNetworkResponse {})).boxed()
    }

    fn publish_logs(&self, _: BoxStream<'static, wire::PublishLogsMessage>) -> Call<'_, wire::PublishLogsResponse> {
        std::future::ready(Err(Status::unimplemented("no logs here"))).boxed()
    }
}
