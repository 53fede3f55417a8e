//! A stage: orchestrator, allocator, scheduler and rebalancer on one store, with agents that are played. Time is paused,
//! and goes on only when a story says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::FutureExt as _;
use swarmkit_allocator::InertNetworks;
use swarmkit_api::{Node, NodeId, Service, Task, TaskId, TaskState, wire, wire::node_status};
use swarmkit_runtime::{Crew, Env};
use swarmkit_store::{Store, StoreError, Transaction};
use swarmkit_testing as testing;
use tokio_util::sync::CancellationToken;

use crate::book::is_live;

/// What a task comes to that is told to start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Casting {
    #[default]
    Runs,
    Fails,
    NeverStarts,
}

pub(super) struct Stage {
    pub(super) env: Env,
    pub(super) store: Store,
    crew: Crew,
    stop: CancellationToken,
    /// What becomes of tasks on a node, other than running.
    pub(super) casting: BTreeMap<NodeId, Casting>,
    /// The fewest tasks of each service that ran at any moment, since asked last.
    pub(super) fewest: BTreeMap<String, usize>,
    /// When tasks were moved: seen once each.
    moved: BTreeMap<TaskId, (SystemTime, String)>,
}

/// How finely time passes.
const BEAT: Duration = Duration::from_millis(500);

impl Stage {
    /// Everything in `text` is there before the loops begin.
    pub(super) async fn open(text: &str) -> Self {
        let env = testing::env();
        let store = Store::local(env.clone());
        testing::amend(&store, text);
        Self::on(env, store).await
    }

    /// Another leader on the same store.
    pub(super) async fn on(env: Env, store: Store) -> Self {
        let stop = CancellationToken::new();
        let mut crew = Crew::under(&stop);
        let on = || (env.clone(), store.clone());
        let (loop_env, loop_store) = on();
        crew.spawn("orchestrator", |stop| swarmkit_orchestrator::run(loop_env, loop_store, stop));
        let (loop_env, loop_store) = on();
        crew.spawn("allocator", |stop| swarmkit_allocator::run(loop_env, loop_store, Arc::new(InertNetworks), stop));
        let (loop_env, loop_store) = on();
        crew.spawn("scheduler", |stop| swarmkit_scheduler::run(loop_env, loop_store, stop));
        let (loop_env, loop_store) = on();
        crew.spawn("rebalancer", |stop| crate::run(loop_env, loop_store, stop));
        let (casting, fewest, moved) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut stage = Self { env, store, crew, stop, casting, fewest, moved };
        stage.settle().await;
        stage
    }

    /// Ends the loops. What is in the store stays.
    pub(super) async fn close(self) -> (Env, Store) {
        self.stop.cancel();
        self.crew.finish().await.expect("the loops end well");
        (self.env, self.store)
    }

    pub(super) fn write(&self, edit: impl FnOnce(&mut Transaction) -> Result<(), StoreError>) {
        let written = tokio::task::unconstrained(self.store.update(edit)).now_or_never();
        written.expect("a local store commits at once").expect("the store takes it");
    }

    /// Lets everybody act until nobody has anything to do. A millisecond passes each time: with time paused, it passes
    /// only when every loop waits.
    pub(super) async fn settle(&mut self) {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.look();
            if !self.act() {
                return;
            }
        }
    }

    pub(super) async fn pass(&mut self, time: Duration) {
        let until = self.env.now() + time;
        while let Ok(left) = until.duration_since(self.env.now())
            && !left.is_zero()
        {
            tokio::time::sleep(left.min(BEAT)).await;
            self.settle().await;
        }
    }

    pub(super) async fn amend(&mut self, text: &str) {
        testing::amend(&self.store, text);
        self.settle().await;
    }

    pub(super) async fn set_node(&mut self, id: &str, state: node_status::State) {
        self.write(|tx| tx.edit(&id.into(), |node: &mut Node| node.status.set_state(state)).map(drop));
        self.settle().await;
    }

    /// Changes a service as the control API does when a client asks for it.
    pub(super) async fn update(&mut self, id: &str, change: impl FnOnce(&mut wire::ServiceSpec)) {
        self.write(|tx| {
            let version = tx.version();
            tx.edit(&id.into(), |service: &mut Service| {
                service.previous_spec = Some(service.spec.clone());
                service.previous_spec_version = service.spec_version;
                service.spec_version = Some(version);
                service.update_status = None;
                change(Arc::make_mut(&mut service.spec));
            })
            .map(drop)
        });
        self.settle().await;
    }

    pub(super) fn tasks(&self) -> Vec<Arc<Task>> {
        self.store.view().all::<Task>().cloned().collect()
    }

    /// How many tasks of a service run on each node, those without any left out: `a 2, b 3`.
    pub(super) fn told(&self, service: &str) -> String {
        let mut nodes = BTreeMap::<_, usize>::new();
        let runs = |task: &&Arc<Task>| is_live(task) && task.status.state == TaskState::Running;
        for task in self.tasks().iter().filter(|task| task.service_annotations.name == service).filter(runs) {
            *nodes.entry(task.node_id.clone().expect("what runs is somewhere")).or_default() += 1;
        }
        nodes.iter().map(|(node, count)| format!("{node} {count}")).collect::<Vec<_>>().join(", ")
    }

    /// When tasks of a service were moved, in seconds since the stage was opened, in order.
    pub(super) fn moves(&self, service: &str) -> Vec<SystemTime> {
        let mut times: Vec<_> = self.moved.values().filter(|(_, of)| of == service).map(|(at, _)| *at).collect();
        times.sort();
        times
    }

    pub(super) fn all_moves(&self) -> Vec<SystemTime> {
        let mut times: Vec<_> = self.moved.values().map(|(at, _)| *at).collect();
        times.sort();
        times
    }

    /// Looks at what holds at every moment.
    fn look(&mut self) {
        let mut running = BTreeMap::<String, usize>::new();
        let mut slots = BTreeMap::<_, BTreeSet<TaskId>>::new();
        let view = self.store.view();
        for service in view.all::<Service>() {
            running.insert(service.name().to_owned(), 0);
        }
        for task in view.all::<Task>() {
            if let Some(origin) = &task.origin {
                assert!(origin.message.starts_with("moved from node "), "{origin:?}");
                let made = task.meta.created_at.and_then(|at| SystemTime::try_from(at).ok()).expect("it has its time");
                let of = task.service_annotations.name.clone();
                self.moved.entry(task.id.clone()).or_insert((made, of));
            }
            if task.status.state == TaskState::Running && is_live(task) {
                *running.entry(task.service_annotations.name.clone()).or_default() += 1;
            }
            if is_live(task) {
                slots.entry((task.service_id.clone(), task.slot)).or_default().insert(task.id.clone());
            }
        }
        assert!(slots.values().all(|tasks| tasks.len() <= 2), "at most one is started beside another: {slots:?}");
        for (service, count) in running {
            let fewest = self.fewest.entry(service).or_insert(count);
            *fewest = (*fewest).min(count);
        }
    }

    /// One act of every agent. Gives whether any did anything.
    fn act(&self) -> bool {
        let now = self.env.now().into();
        let next: Vec<_> = self.tasks().iter().filter_map(|task| Some((task.id.clone(), self.next(task)?))).collect();
        for (id, state) in &next {
            self.write(|tx| {
                tx.edit(id, |task: &mut Task| {
                    assert!(task.status.state < *state, "the state of a task never goes back");
                    task.status.state = *state;
                    task.status.timestamp = Some(now);
                })
                .map(drop)
            });
        }
        !next.is_empty()
    }

    /// The state that an agent brings a task to next.
    fn next(&self, task: &Task) -> Option<TaskState> {
        let node = self.store.view().get::<Node>(task.node_id.as_ref()?)?.clone();
        let is_heard = node.status.state() == node_status::State::Ready;
        if !is_heard || !(TaskState::Assigned..=TaskState::Running).contains(&task.status.state) {
            return None;
        }
        if !is_live(task) {
            return Some(TaskState::Shutdown);
        }
        let may_start = task.desired_state == TaskState::Running;
        match (task.status.state, self.casting.get(&node.id).copied().unwrap_or_default()) {
            (TaskState::Assigned, _) => Some(TaskState::Ready),
            (TaskState::Ready, Casting::Runs) if may_start => Some(TaskState::Running),
            (TaskState::Ready, Casting::Fails) if may_start => Some(TaskState::Failed),
            _ => None,
        }
    }
}
