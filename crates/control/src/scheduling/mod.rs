//! The Scheduling service: why a task waits, and what would become of a service.
//!
//! It reads one state and writes nothing. What it says is worked out by those who decide: the checks of this crate, the
//! orchestrator and the scheduler, each on a state that nobody else sees.

mod allocation;
mod outcome;
mod tell;

use std::sync::Arc;

use swarmkit_api::{Task, TaskId, wire::swarmkit::scheduling::v1 as wire};
use swarmkit_rpc::ServiceError as _;
use swarmkit_runtime::{Env, Spawner};
use swarmkit_scheduler::explain;
use swarmkit_store::{Store, View};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use self::wire::scheduling_server::Scheduling;
use crate::{
    ControlError,
    request::{missing, required},
};

/// The most nodes that are told one by one, about 100 bytes each: the rest is counted.
const NODES_MAX: usize = 1_000;

/// How many questions are worked on at a time. Each looks at the whole state, so that more would only take longer, and take
/// the processors from those who decide.
const AT_ONCE: usize = 2;

/// The Scheduling service. It answers from this manager's copy, so whoever wants to know how it is now asks the leader.
/// Clones share the store.
#[derive(Clone, Debug)]
pub struct SchedulingApi {
    env: Env,
    store: Store,
    turns: Arc<Semaphore>,
}

impl SchedulingApi {
    /// Serves a store.
    #[must_use]
    pub fn new(env: Env, store: Store) -> Self {
        Self { env, store, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Works on a question beside the others, with the state as it is when its turn has come.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Env, &View) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let turn = self.turns.acquire().await.expect("invariant: nobody closes the semaphore");
        let (env, view) = (self.env.clone(), self.store.view());
        let worked = Spawner::blocking(move || work(&env, &view)).await;
        drop(turn);
        match worked {
            Ok(answer) => answer.map(Response::new).map_err(|error| error.to_status()),
            Err(error) => Err(Status::internal(format!("the question could not be worked on: {error}"))),
        }
    }
}

#[tonic::async_trait]
impl Scheduling for SchedulingApi {
    async fn explain(&self, request: Request<wire::ExplainRequest>) -> Result<Response<wire::ExplainResponse>, Status> {
        let wire::ExplainRequest { task_id, max_nodes } = request.into_inner();
        self.ask(move |env, view| {
            let id = required::<TaskId>(task_id)?;
            let task = view.get::<Task>(&id).ok_or_else(|| missing("task", &id))?;
            let explanation = explain(view, task, env.now(), nodes_told(max_nodes));
            Ok(wire::ExplainResponse { version: view.version().0, explanation: Some(tell::explanation(explanation)) })
        })
        .await
    }

    async fn plan(&self, request: Request<wire::PlanRequest>) -> Result<Response<wire::PlanResponse>, Status> {
        let request = request.into_inner();
        self.ask(move |env, view| outcome::plan(env, view, request)).await
    }
}

fn nodes_told(asked: u32) -> usize {
    usize::try_from(asked).unwrap_or(usize::MAX).min(NODES_MAX)
}
