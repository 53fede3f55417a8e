//! One engine: its calls with a deadline each, and its answers in our words.

mod container;
mod network;

use std::{collections::BTreeMap, future::Future, path::Path, sync::Arc, time::Duration};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    container::LogOutput,
    models::{ContainerCreateBody, ContainerStatsResponse, CreateImageInfo, EventMessage, Plugin, SystemInfo},
    query_parameters::{
        CreateContainerOptionsBuilder, CreateImageOptionsBuilder, EventsOptionsBuilder, ListContainersOptionsBuilder,
        LogsOptions, RemoveContainerOptionsBuilder, StatsOptionsBuilder, StopContainerOptionsBuilder,
    },
};
use futures_util::{Stream, TryStreamExt as _, future::BoxFuture};
use http::HeaderValue;
use swarmkit_executor::ExecError;

pub(crate) use self::{
    container::{Container, Stage, Wellness},
    network::EngineNetwork,
};
use crate::labels;

/// How long a question may take that the engine answers from memory. It may be busy.
const QUESTION: Duration = Duration::from_secs(30);
/// How long creating, starting or removing a container may take.
const WORK: Duration = Duration::from_secs(120);
/// How long stopping may take beyond the grace: the engine asks, waits, kills, and waits again.
const STOP_MARGIN: Duration = Duration::from_secs(30);
/// How long the head of an answer may take that goes on as a stream. The engine sends it when there is progress.
const STREAM_HEAD: Duration = Duration::from_secs(300);

/// The oldest interface that we speak: that of Docker 20.10.
pub(crate) const OLDEST: Api = Api(1, 41);

/// A version of the engine's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Api(pub(crate) usize, pub(crate) usize);

/// Why the engine did not do as it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EngineError {
    /// It does not answer, or not in time, or what it says breaks off. It may do so later.
    #[error("the engine does not answer: {0}")]
    Away(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It does not go together with how things are.
    #[error("{0}")]
    Conflict(String),
    /// It cannot or will not, and asking again will not help.
    #[error("{0}")]
    Refused(String),
}

/// A client of one engine. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    docker: Docker,
    socket: Arc<Path>,
}

/// An image that is to be fetched. `Debug` does not show the credentials.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pull {
    /// The image with tag or digest.
    pub(crate) image: String,
    /// `os/architecture`; empty for the engine's own.
    pub(crate) platform: String,
    /// What the registry wants to be told, in the form of the header for it; empty for nothing.
    pub(crate) auth: String,
}

impl Engine {
    /// Finds the engine behind a unix socket, and agrees on a version of the interface.
    pub(crate) async fn connect(socket: &Path) -> Result<Self, EngineError> {
        let path = socket.to_str().ok_or_else(|| EngineError::Refused("the socket's path is not text".to_owned()))?;
        let docker = Docker::connect_with_unix(path, STREAM_HEAD.as_secs(), API_DEFAULT_VERSION)?;
        let engine = Self { docker, socket: socket.into() };
        engine.negotiate().await?;
        if engine.api() < OLDEST {
            let text = format!("the engine is too old: it has API {}, and {OLDEST} is needed", engine.api());
            return Err(EngineError::Refused(text));
        }
        Ok(engine)
    }

    /// Asks for the engine's version, and goes down to it. Also a way to see whether the engine is there.
    pub(crate) async fn negotiate(&self) -> Result<(), EngineError> {
        self.ask(QUESTION, async |docker| docker.negotiate_version().await.map(drop)).await
    }

    /// The version of the interface that both sides speak.
    pub(crate) fn api(&self) -> Api {
        let version = self.docker.client_version();
        Api(version.major_version, version.minor_version)
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Does one thing within a time limit.
    async fn ask<'a, T, Fut>(&self, limit: Duration, asking: impl FnOnce(Docker) -> Fut) -> Result<T, EngineError>
    where
        Fut: Future<Output = Result<T, bollard::errors::Error>> + Send + 'a,
    {
        // The client's own limit covers the head of the answer only.
        let docker = self.docker.clone().with_timeout(limit + Duration::from_secs(1));
        // What the client keeps while it waits is large and deep, and would be part of every caller's future.
        let asking: BoxFuture<'a, _> = Box::pin(asking(docker));
        match tokio::time::timeout(limit, asking).await {
            Ok(answer) => answer.map_err(Into::into),
            Err(_) => Err(EngineError::Away(format!("nothing within {} s", limit.as_secs()))),
        }
    }

    pub(crate) async fn info(&self) -> Result<SystemInfo, EngineError> {
        self.ask(QUESTION, async |docker| docker.info().await).await
    }

    pub(crate) async fn plugins(&self) -> Result<Vec<Plugin>, EngineError> {
        self.ask(QUESTION, async |docker| docker.list_plugins(None).await).await
    }

    /// What is known of a container. `None` when there is none of that name.
    pub(crate) async fn inspect(&self, name: &str) -> Result<Option<Container>, EngineError> {
        let read = async |docker: Docker| docker.inspect_container(name, None).await.map(Container::read);
        self.ask(QUESTION, read).await.map(Some).or_else(EngineError::nothing)
    }

    /// Creates a container, and tells what the engine has to say about it.
    pub(crate) async fn create(
        &self,
        name: &str,
        platform: &str,
        body: ContainerCreateBody,
    ) -> Result<Vec<String>, EngineError> {
        let mut options = CreateContainerOptionsBuilder::new().name(name);
        if !platform.is_empty() {
            options = options.platform(platform);
        }
        let options = options.build();
        let made = self.ask(WORK, async |docker| docker.create_container(Some(options), body).await).await?;
        Ok(made.warnings)
    }

    pub(crate) async fn start(&self, name: &str) -> Result<(), EngineError> {
        self.ask(WORK, async |docker| docker.start_container(name, None).await).await
    }

    /// Stops a container: its stop signal, then the grace, then by force. What does not run is fine.
    pub(crate) async fn stop(&self, name: &str, grace: Duration) -> Result<(), EngineError> {
        // The engine counts in seconds; a task is never given less than it was promised.
        let whole = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let seconds = i32::try_from(whole).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let limit = grace.saturating_add(STOP_MARGIN);
        let stopped = self.ask(limit, async |docker| docker.stop_container(name, Some(options)).await).await;
        stopped.or_else(EngineError::nothing)
    }

    /// Ends a container by force. What does not run is fine.
    pub(crate) async fn kill(&self, name: &str) -> Result<(), EngineError> {
        match self.ask(WORK, async |docker| docker.kill_container(name, None).await).await {
            // "is not running"
            Err(EngineError::Conflict(_)) => Ok(()),
            killed => killed.or_else(EngineError::nothing),
        }
    }

    /// Removes a container with what it wrote, running or not. What is not there is fine.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let removed = self.ask(WORK, async |docker| docker.remove_container(name, Some(options)).await).await;
        removed.or_else(EngineError::nothing)
    }

    /// The containers of one executor: the task's id, and the container's.
    pub(crate) async fn containers_of(&self, owner: &str) -> Result<BTreeMap<String, String>, EngineError> {
        let filters = std::iter::once(("label", vec![format!("{}={owner}", labels::OWNER)])).collect();
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let found = self.ask(QUESTION, async |docker| docker.list_containers(Some(options)).await).await?;
        let ids = found.into_iter().filter_map(|container| {
            let task = container.labels?.remove(labels::TASK_ID)?;
            Some((task, container.id?))
        });
        Ok(ids.collect())
    }

    pub(crate) async fn has_image(&self, image: &str) -> Result<bool, EngineError> {
        let found = self.ask(QUESTION, async |docker| docker.inspect_image(image).await.map(drop)).await;
        found.map(|()| true).or_else(|error| match error {
            EngineError::NotFound(_) => Ok(false),
            error => Err(error),
        })
    }

    /// Fetches an image. The stream tells how far it is, and ends when it is there.
    pub(crate) fn pull(&self, pull: &Pull) -> impl Stream<Item = Result<CreateImageInfo, EngineError>> + Send + use<> {
        let mut options = CreateImageOptionsBuilder::new().from_image(&pull.image);
        if !pull.platform.is_empty() {
            options = options.platform(&pull.platform);
        }
        let mut docker = self.docker.clone();
        if let Ok(mut auth) = HeaderValue::from_str(&pull.auth)
            && !auth.is_empty()
        {
            auth.set_sensitive(true);
            // As the specification has it: it was made by a client of the engine, for the engine.
            docker = docker.with_request_modifier(move |mut request| {
                request.headers_mut().insert("X-Registry-Auth", auth.clone());
                request
            });
        }
        docker.create_image(Some(options.build()), None, None).map_err(Into::into)
    }

    /// What happens to the containers of one executor, from `since` (seconds of the epoch, with a fraction) on.
    pub(crate) fn events(
        &self,
        owner: &str,
        since: &str,
    ) -> impl Stream<Item = Result<EventMessage, EngineError>> + Send + use<> {
        let of_interest = ["start", "die", "oom", "destroy", "health_status"].map(str::to_owned).to_vec();
        let filters = [
            ("type", vec!["container".to_owned()]),
            ("label", vec![format!("{}={owner}", labels::OWNER)]),
            ("event", of_interest),
        ];
        let options = EventsOptionsBuilder::new().since(since).filters(&filters.into_iter().collect()).build();
        self.docker.events(Some(options)).map_err(Into::into)
    }

    /// What a container uses at this moment. The engine's usual answer takes a second, over which it measures a rate.
    pub(crate) async fn stats(&self, name: &str) -> Result<ContainerStatsResponse, EngineError> {
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        let first = async |docker: Docker| docker.stats(name, Some(options)).try_next().await;
        Ok(self.ask(QUESTION, first).await?.unwrap_or_default())
    }

    /// What a container has written.
    pub(crate) fn logs(
        &self,
        name: &str,
        options: LogsOptions,
    ) -> impl Stream<Item = Result<LogOutput, EngineError>> + Send + use<> {
        self.docker.logs(name, Some(options)).map_err(Into::into)
    }
}

// === impl Pull ===

impl std::fmt::Debug for Pull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let auth = if self.auth.is_empty() { "none" } else { "hidden" };
        let Self { image, platform, .. } = self;
        f.debug_struct("Pull").field("image", image).field("platform", platform).field("auth", &auth).finish()
    }
}

// === impl EngineError ===

impl EngineError {
    /// What is not there is no error.
    fn nothing<T: Default>(self) -> Result<T, Self> {
        match self {
            Self::NotFound(_) => Ok(T::default()),
            error => Err(error),
        }
    }

    /// The same for the agent, where what the engine refuses breaks a task that was about to start or runs.
    pub(crate) fn failed(self) -> ExecError {
        match self {
            Self::Away(_) => ExecError::temporary(self),
            Self::NotFound(_) | Self::Conflict(_) | Self::Refused(_) => ExecError::failed(self),
        }
    }

    /// The same for the agent, where what the engine refuses means that the task cannot run here.
    pub(crate) fn rejected(self) -> ExecError {
        match self {
            Self::Away(_) => ExecError::temporary(self),
            Self::NotFound(_) | Self::Conflict(_) | Self::Refused(_) => ExecError::rejected(self),
        }
    }
}

/// The statuses by which the engine says more than that it will not.
const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;
const UNAVAILABLE: u16 = 503;

impl From<bollard::errors::Error> for EngineError {
    fn from(error: bollard::errors::Error) -> Self {
        use bollard::errors::Error;

        match error {
            Error::DockerResponseServerError { status_code, message } => match status_code {
                NOT_FOUND => Self::NotFound(message),
                CONFLICT => Self::Conflict(message),
                UNAVAILABLE => Self::Away(message),
                _ => Self::Refused(message),
            },
            Error::DockerStreamError { error } => Self::Refused(error),
            Error::SocketNotFoundError(socket) => Self::Away(format!("there is no socket {socket}")),
            error => Self::Away(chain(&error)),
        }
    }
}

/// An error and what is behind it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = error.source();
    }
    text
}

impl std::fmt::Display for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status_code: u16) -> EngineError {
        bollard::errors::Error::DockerResponseServerError { status_code, message: "text".into() }.into()
    }

    #[test]
    fn what_the_engine_says_decides_whether_it_is_asked_again() {
        assert_eq!(answered(404), EngineError::NotFound("text".into()));
        assert_eq!(answered(409), EngineError::Conflict("text".into()));
        assert_eq!(answered(500), EngineError::Refused("text".into()));
        assert!(answered(503).rejected().is_temporary());
        assert!(matches!(answered(400).rejected(), ExecError::Rejected(_)));
        assert!(matches!(answered(400).failed(), ExecError::Failed(_)));
        let lost = EngineError::from(bollard::errors::Error::RequestTimeoutError);
        assert!(lost.failed().is_temporary());
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_told_by_its_socket() {
        let error = Engine::connect(Path::new("/nonexistent/docker.sock")).await.unwrap_err();
        let text = "the engine does not answer: there is no socket /nonexistent/docker.sock";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn credentials_do_not_show() {
        let pull = Pull { image: "a:1".into(), auth: "eyJ9".into(), ..Pull::default() };
        assert_eq!(format!("{pull:?}"), r#"Pull { image: "a:1", platform: "", auth: "hidden" }"#);
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert!(Api(1, 100) > Api(1, 44) && Api(2, 0) > Api(1, 100));
        assert_eq!(OLDEST.to_string(), "1.41");
    }
}
