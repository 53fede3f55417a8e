//! A stage: the orchestrator's loops on a store, with a scheduler and agents that are played. Time is paused, and goes
//! on only when a story says so.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use swarmkit_api::constraint;
use swarmkit_runtime::{Clock, Env};
use swarmkit_store::TaskBy;

use super::*;

/// What a task that is told to start comes to, other than running.
pub(super) type Casting = Box<dyn Fn(&Task) -> Option<TaskState>>;

/// How far a clock is from showing the time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shift {
    Ahead(Duration),
    Behind(Duration),
}

struct Shifted(Env, Shift);

impl Clock for Shifted {
    fn now(&self) -> SystemTime {
        match self.1 {
            Shift::Ahead(by) => self.0.now() + by,
            Shift::Behind(by) => self.0.now() - by,
        }
    }
}

pub(super) struct Stage {
    pub(super) env: Env,
    pub(super) store: Store,
    crew: Crew,
    stop: CancellationToken,
    casting: Casting,
    /// Tasks of these images do not stop when told to.
    pub(super) stubborn: Vec<&'static str>,
    /// The most tasks of a service that were on the way to running at once, since asked last.
    pub(super) most_in_flight: usize,
}

/// How finely time passes when it is short, and when it is long.
const BEAT: Duration = Duration::from_millis(100);
const LONG_BEAT: Duration = Duration::from_secs(1);

impl Stage {
    /// Everything in `text` is there before the loops begin.
    pub(super) async fn open(text: &str) -> Self {
        Self::open_with(text, |_| None).await
    }

    pub(super) async fn open_with(text: &str, casting: impl Fn(&Task) -> Option<TaskState> + 'static) -> Self {
        let env = env();
        let store = Store::local(env.clone());
        testing::amend(&store, text);
        Self::on_with(env, store, casting).await
    }

    /// Another leader on the same store.
    pub(super) async fn on(env: Env, store: Store) -> Self {
        Self::on_with(env, store, |_| None).await
    }

    pub(super) async fn on_with(
        env: Env,
        store: Store,
        casting: impl Fn(&Task) -> Option<TaskState> + 'static,
    ) -> Self {
        let stop = CancellationToken::new();
        let mut crew = Crew::under(&stop);
        crew.spawn("orchestrator", |stop| crate::run(env.clone(), store.clone(), stop));
        let casting: Casting = Box::new(casting);
        let mut stage = Self { env, store, crew, stop, casting, stubborn: Vec::new(), most_in_flight: 0 };
        stage.settle().await;
        stage
    }

    /// The next leader: on another store that holds the same, as its own clock shows the time.
    pub(super) async fn succeeded_by(self, shift: Shift) -> Self {
        let (env, old) = self.close().await;
        let env = Env::seeded(old.version().0, Shifted(env, shift));
        let store = Store::local(env.clone());
        let mut restore = store.applier().restore();
        restore.chunk(&old.applier().snapshot().to_bytes()).unwrap();
        store.applier().install(restore).unwrap();
        Self::on(env, store).await
    }

    /// Ends the loops. What is in the store stays.
    pub(super) async fn close(self) -> (Env, Store) {
        self.stop.cancel();
        self.crew.finish().await.unwrap();
        (self.env, self.store)
    }

    pub(super) fn cast(&mut self, casting: impl Fn(&Task) -> Option<TaskState> + 'static) {
        self.casting = Box::new(casting);
    }

    /// Lets everybody act until nobody has anything to do, without time passing.
    pub(super) async fn settle(&mut self) {
        loop {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            self.check();
            if !self.act() {
                return;
            }
        }
    }

    pub(super) async fn pass(&mut self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            let beat = left.min(if left > Duration::from_secs(30) { LONG_BEAT } else { BEAT });
            tokio::time::sleep(beat).await;
            self.settle().await;
            left -= beat;
        }
    }

    pub(super) async fn amend(&mut self, text: &str) {
        testing::amend(&self.store, text);
        self.settle().await;
    }

    pub(super) async fn update(&mut self, service: &str, change: impl FnOnce(&mut wire::ServiceSpec)) {
        update(&self.store, service, change);
        self.settle().await;
    }

    pub(super) async fn edit_node(&mut self, id: &str, change: impl FnOnce(&mut Node)) {
        edit_node(&self.store, id, change);
        self.settle().await;
    }

    /// The oldest task of a slot that is in that state comes to another.
    pub(super) async fn end(&mut self, slot: u64, state: TaskState) {
        let task = self.tasks().into_iter().find(|task| task.slot == slot && task.status.state == TaskState::Running);
        self.observe(&task.expect("a task runs in the slot"), state);
        self.settle().await;
    }

    pub(super) fn observe(&self, task: &Task, state: TaskState) {
        let now = self.env.now().into();
        edit_task(&self.store, task.id.as_str(), |task| {
            assert!(task.status.state < state, "the state of a task never goes back");
            task.status.state = state;
            task.status.timestamp = Some(now);
            task.status.applied_at = Some(now);
            if state == TaskState::Running {
                task.status.running_since = Some(now);
            }
        });
    }

    /// All tasks, by slot and then in the order in which they were made.
    pub(super) fn tasks(&self) -> Vec<Arc<Task>> {
        let mut tasks: Vec<_> = self.store.view().all::<Task>().cloned().collect();
        tasks.sort_by_key(|task| {
            let made = (task.meta.created_version, task.meta.created_at.map(|at| (at.seconds, at.nanos)));
            (task.service_id.clone(), task.slot, if task.slot == 0 { task.node_id.clone() } else { None }, made)
        });
        tasks
    }

    /// The tasks that are still wanted, in a few words each: service, slot or node, image if it is not `image`, state,
    /// and what it is wanted in unless that is to run.
    pub(super) fn told(&self) -> Vec<String> {
        self.tasks().iter().filter(|task| crate::slot::is_live(task)).map(|task| Self::tell(task)).collect()
    }

    /// All tasks, as [`Stage::told`].
    pub(super) fn history(&self) -> Vec<String> {
        self.tasks().iter().map(|task| Self::tell(task)).collect()
    }

    fn tell(task: &Task) -> String {
        let place = match (&task.node_id, task.slot, task.job_iteration) {
            (Some(node), 0, None) => node.to_string(),
            (_, slot, _) => slot.to_string(),
        };
        let mut words = vec![format!("{}.{place}", task.service_annotations.name)];
        if image(task) != "image" {
            words.push(image(task).to_owned());
        }
        words.push(task.status.state.as_str_name().to_lowercase());
        if task.desired_state != crate::slot::goal(task.job_iteration) {
            words.push(format!("wants {}", task.desired_state.as_str_name().to_lowercase()));
        }
        words.join(" ")
    }

    /// Where the rollout of a service stands.
    pub(super) fn status(&self, service: &str) -> Option<(wire::update_status::UpdateState, String)> {
        let view = self.store.view();
        let service = view.get::<Service>(&service.into()).unwrap();
        service.update_status.as_ref().map(|status| (status.state(), status.message.clone()))
    }

    pub(super) fn now(&self) -> SystemTime {
        self.env.now()
    }

    /// What holds at every moment: at most one task in a slot runs or is told to, or two while one is started first.
    fn check(&mut self) {
        let mut in_flight = BTreeMap::<_, usize>::new();
        for task in self.store.view().all::<Task>().filter(|task| crate::slot::is_live(task)) {
            if task.status.state < TaskState::Running {
                *in_flight.entry(task.service_id.clone()).or_default() += 1;
            }
        }
        self.most_in_flight = in_flight.into_values().fold(self.most_in_flight, usize::max);
    }

    /// One act of everybody who is played. Gives whether anybody did anything.
    fn act(&self) -> bool {
        let tasks = self.store.view().all::<Task>().cloned().collect::<Vec<_>>();
        let mut acted = false;
        for task in tasks {
            let Some(state) = self.next(&task) else { continue };
            acted = true;
            if task.node_id.is_none() && state == TaskState::Assigned {
                let node = self.freest(&task).expect("there is a node");
                edit_task(&self.store, task.id.as_str(), |task| task.node_id = Some(node));
            }
            self.observe(&task, state);
        }
        acted
    }

    /// The state that a task comes to next.
    fn next(&self, task: &Task) -> Option<TaskState> {
        let is_wanted = crate::slot::is_live(task);
        if task.status.state < TaskState::Assigned {
            let has_place = match &task.node_id {
                None => self.freest(task).is_some(),
                Some(node) => self.takes_tasks(node),
            };
            return (is_wanted && has_place).then_some(TaskState::Assigned);
        }
        let is_heard = task.node_id.as_ref().and_then(|node| self.store.view().get::<Node>(node).cloned());
        if task.status.state > TaskState::Running
            || is_heard.is_none_or(|node| node.status.state() != wire::node_status::State::Ready)
        {
            return None;
        }
        if !is_wanted {
            return (!self.stubborn.contains(&image(task))).then_some(TaskState::Shutdown);
        }
        let holds = task.desired_state < TaskState::Running;
        match task.status.state {
            TaskState::Assigned => match (self.casting)(task) {
                Some(TaskState::Rejected) => Some(TaskState::Rejected),
                _ => Some(TaskState::Ready),
            },
            TaskState::Ready if !holds => match (self.casting)(task) {
                Some(TaskState::Preparing) => None,
                Some(state) => Some(state),
                None => Some(TaskState::Running),
            },
            _ => None,
        }
    }

    fn takes_tasks(&self, node: &swarmkit_api::NodeId) -> bool {
        let view = self.store.view();
        view.get::<Node>(node).is_some_and(|node| {
            node.status.state() == wire::node_status::State::Ready
                && node.spec.availability() == wire::node_spec::Availability::Active
        })
    }

    fn freest(&self, task: &Task) -> Option<swarmkit_api::NodeId> {
        let view = self.store.view();
        let placement = task.spec.placement.clone().unwrap_or_default();
        let constraints = constraint::parse_all(&placement.constraints).unwrap();
        let nodes = view.all::<Node>().filter(|node| self.takes_tasks(&node.id));
        let nodes = nodes.filter(|node| constraint::all_match(&constraints, node));
        let load = |node: &&Arc<Node>| {
            view.find(TaskBy::Node(Some(&node.id))).filter(|task| crate::slot::is_live(task)).count()
        };
        nodes.min_by_key(load).map(|node| node.id.clone())
    }
}

pub(super) fn image(task: &Task) -> &str {
    match &task.spec.runtime {
        Some(wire::task_spec::Runtime::Container(container)) => &container.image,
        _ => "",
    }
}

/// The states of all tasks of one image.
pub(super) fn count(stage: &Stage, wanted: &str, state: TaskState) -> usize {
    stage.tasks().iter().filter(|task| image(task) == wanted && task.status.state == state).count()
}

/// Sets how many tasks a slot keeps in the cluster. Less than 0 means all.
pub(super) fn keep_history(store: &Store, limit: i64) {
    write(store, |tx| {
        let id = tx.cluster().unwrap().id.clone();
        tx.edit(&id, |cluster: &mut swarmkit_api::Cluster| {
            Arc::make_mut(&mut cluster.spec).orchestration.get_or_insert_default().task_history_retention_limit = limit;
        })
        .map(drop)
    });
}
