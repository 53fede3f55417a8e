//! What holds whatever happens: histories drawn by chance, of services of all four modes, of nodes, tasks and leaders.

use std::collections::BTreeMap;

use proptest::prelude::*;
use swarmkit_store::{TaskBy, Watch};
use wire::{
    UpdateConfig, node_spec::Availability, node_status::State, restart_policy::RestartCondition,
    update_config::FailureAction,
};

use super::{
    stage::{Shift, Stage},
    *,
};
use crate::{policy::Restart, slot::is_live, world::Due};

const NODES: [&str; 3] = ["n0", "n1", "n2"];

/// `web` is what most happens to; the others have to live with its nodes.
const WORLD: &str = "node n0 label:disk=ssd; node n1 label:disk=ssd; node n2
    service web replicas=2 restart=any delay=2s
    service all global restart=any delay=1s; service once global-job restart=any delay=1s
    service job job=3 concurrent=2 restart=any delay=1s";

#[derive(Clone, Debug)]
enum Event {
    Scale(u64),
    Image(u8),
    Order(bool, u64),
    Restart(RestartCondition, u64),
    Constrain(bool),
    Node(u8, State, Availability),
    Label(u8, bool),
    Leave(u8),
    Join(u8),
    End(u8, TaskState),
    /// What is on a node that is down is given up for lost.
    Orphan,
    Pass(u64),
    NewLeader,
    /// One on another machine, whose clock is behind the last one's, or ahead of it.
    OtherClock(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let availability = prop::sample::select(vec![Availability::Active, Availability::Drain, Availability::Pause]);
    let state = prop::sample::select(vec![State::Ready, State::Ready, State::Down]);
    let end = prop::sample::select(vec![TaskState::Failed, TaskState::Complete, TaskState::Rejected]);
    let condition =
        prop::sample::select(vec![RestartCondition::None, RestartCondition::OnFailure, RestartCondition::Any]);
    let node = || 0..3_u8;
    prop_oneof![
        3 => (0..6_u64).prop_map(Event::Scale),
        2 => (0..3_u8).prop_map(Event::Image),
        1 => (any::<bool>(), 0..3_u64).prop_map(|(start_first, parallelism)| Event::Order(start_first, parallelism)),
        2 => (condition, 0..3_u64).prop_map(|(condition, attempts)| Event::Restart(condition, attempts)),
        1 => any::<bool>().prop_map(Event::Constrain),
        3 => (node(), state, availability).prop_map(|(node, state, availability)| Event::Node(node, state, availability)),
        1 => (node(), any::<bool>()).prop_map(|(node, ssd)| Event::Label(node, ssd)),
        1 => node().prop_map(Event::Leave),
        1 => node().prop_map(Event::Join),
        5 => (0..9_u8, end).prop_map(|(task, state)| Event::End(task, state)),
        1 => Just(Event::Orphan),
        4 => (1..15_u64).prop_map(Event::Pass),
        1 => Just(Event::NewLeader),
        1 => any::<bool>().prop_map(Event::OtherClock),
    ]
}

/// A history in the making, and what has to be remembered of it to tell whether it is a good one.
struct History {
    stage: Stage,
    replicas: u64,
    /// Once started first, a slot may hold two tasks for as long as the new one does not run.
    start_first: bool,
    states: BTreeMap<swarmkit_api::TaskId, (TaskState, TaskState)>,
    followed: Followed,
}

/// Worlds that have seen the same in different ways.
struct Followed {
    updates: Watch,
    /// It saw every change.
    each: World,
    /// It was told now and then what is.
    now_and_then: World,
    /// Whether the clock of every leader has shown the same.
    clocks_agree: bool,
}

// === impl History ===

impl History {
    async fn open() -> Self {
        let stage = Stage::open(WORLD).await;
        let followed = Followed::of(&stage.store);
        Self { stage, replicas: 2, start_first: false, states: BTreeMap::new(), followed }
    }

    async fn happen(mut self, event: Event) -> Self {
        let node = |number: u8| NODES[usize::from(number)];
        match event {
            Event::Scale(to) => {
                self.replicas = to;
                self.stage.update("web", set_replicas(to)).await;
            }
            Event::Image(number) => {
                let image = ["image", "new", "newer"][usize::from(number)];
                self.stage
                    .update("web", |spec| {
                        let before = spec.task.take().unwrap_or_default();
                        let (restart, placement) = (before.restart, before.placement);
                        spec.task = Some(wire::TaskSpec { restart, placement, ..testing::container(image) });
                    })
                    .await;
            }
            Event::Order(first, parallelism) => {
                self.start_first |= first;
                let (order, failure_action) = (i32::from(first), FailureAction::Continue.into());
                let policy = UpdateConfig { parallelism, order, failure_action, ..Default::default() };
                self.stage.update("web", |spec| spec.update = Some(policy)).await;
            }
            Event::Restart(condition, max_attempts) => {
                self.stage
                    .update("web", |spec| {
                        let policy = spec.task.get_or_insert_default().restart.get_or_insert_default();
                        (policy.condition, policy.max_attempts) = (condition.into(), max_attempts);
                    })
                    .await;
            }
            Event::Constrain(on) => {
                self.stage
                    .update("web", |spec| {
                        let constraints = on.then(|| "node.labels.disk == ssd".to_owned()).into_iter().collect();
                        spec.task.get_or_insert_default().placement.get_or_insert_default().constraints = constraints;
                    })
                    .await;
            }
            Event::Node(number, state, availability) if self.is_there(node(number)) => {
                self.stage
                    .edit_node(node(number), |node| {
                        set_state(node, state);
                        set_availability(node, availability);
                    })
                    .await;
            }
            Event::Label(number, ssd) if self.is_there(node(number)) => {
                let disk = if ssd { "ssd" } else { "tape" };
                self.stage
                    .edit_node(node(number), |node| {
                        let labels = &mut Arc::make_mut(&mut node.spec).annotations.get_or_insert_default().labels;
                        labels.insert("disk".into(), disk.into());
                    })
                    .await;
            }
            Event::Leave(number) if self.is_there(node(number)) => self.leave(node(number)).await,
            Event::Join(number) if !self.is_there(node(number)) => {
                self.stage.amend(&format!("node {}", node(number))).await;
            }
            Event::End(nth, state) => {
                let running = self.stage.tasks().into_iter().filter(|task| task.status.state == TaskState::Running);
                let running: Vec<_> = running.filter(|task| is_heard(&self.stage.store.view(), task)).collect();
                if let Some(task) = running.get(usize::from(nth) % running.len().max(1)) {
                    self.stage.observe(task, state);
                    self.stage.settle().await;
                }
            }
            Event::Orphan => {
                let view = self.stage.store.view();
                let down = view.all::<Node>().filter(|node| node.status.state() == State::Down);
                let tasks = down.flat_map(|node| view.find(TaskBy::Node(Some(&node.id))));
                let lost = |task: &&Arc<Task>| (TaskState::Assigned..=TaskState::Running).contains(&task.status.state);
                tasks.filter(lost).for_each(|task| self.stage.observe(task, TaskState::Orphaned));
                self.stage.settle().await;
            }
            Event::Pass(seconds) => self.pass_by_seconds(seconds).await,
            Event::NewLeader => {
                let (env, store) = self.stage.close().await;
                self.stage = Stage::on(env, store).await;
            }
            Event::OtherClock(behind) => {
                let by = Duration::from_secs(3600);
                self.stage = self.stage.succeeded_by(if behind { Shift::Behind(by) } else { Shift::Ahead(by) }).await;
                self.followed = Followed { clocks_agree: false, ..Followed::of(&self.stage.store) };
            }
            Event::Node(..) | Event::Label(..) | Event::Leave(_) | Event::Join(_) => {}
        }
        self
    }

    fn is_there(&self, node: &str) -> bool {
        self.stage.store.view().get::<Node>(&node.into()).is_some()
    }

    /// A node is removed, as the control API does that: what is on it is lost.
    async fn leave(&mut self, node: &str) {
        remove_node(&self.stage.store, node);
        self.stage.settle().await;
    }

    /// What must hold whenever everybody has acted.
    fn check(&mut self) {
        let view = self.stage.store.view();
        check_slots(&view, self.start_first, self.replicas);
        check_job(&view);
        check_restarts(&view);
        for task in self.stage.tasks() {
            let states = (task.desired_state, task.status.state);
            let before = self.states.insert(task.id.clone(), states).unwrap_or_default();
            assert!(before.0 <= states.0, "a desired state never goes back");
            assert!(before.1 <= states.1, "an observed state never goes back");
        }
        self.followed.check(&view, self.stage.now());
    }

    /// Once everything is well again, so are the services; and then there is nothing to do.
    async fn end_well(mut self) {
        for node in NODES {
            if !self.is_there(node) {
                self.stage.amend(&format!("node {node}")).await;
            }
            self.stage
                .edit_node(node, |node| {
                    set_state(node, State::Ready);
                    set_availability(node, Availability::Active);
                })
                .await;
        }
        self.rest().await;
        self.stage
            .update("web", |spec| {
                let restart = wire::RestartPolicy { condition: RestartCondition::Any.into(), ..Default::default() };
                spec.task = Some(wire::TaskSpec { restart: Some(restart), ..testing::container("last") });
                spec.update = None;
            })
            .await;
        self.rest().await;
        self.check_whole();
        self.stage.close().await;
    }

    /// Everything comes to rest.
    async fn rest(&mut self) {
        // Longer than an old task is waited for, and than any delay.
        self.pass_by_seconds(90).await;
        self.check();
        let before = self.stage.store.version();
        self.pass_by_seconds(20).await;
        assert_eq!(self.stage.store.version(), before, "there is nothing to do: {:?}", self.stage.history());
    }

    async fn pass_by_seconds(&mut self, seconds: u64) {
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.stage.settle().await;
        }
    }

    /// Every service is as it was asked for.
    fn check_whole(&self) {
        let told = self.stage.history();
        let of = |service: &str| {
            let tasks = self.stage.tasks().into_iter().filter(|task| task.service_id == Some(service.into()));
            tasks.collect::<Vec<_>>()
        };
        let live = |service: &str| of(service).into_iter().filter(|task| is_live(task)).collect::<Vec<_>>();
        assert!(live("web").iter().all(|task| task.status.state == TaskState::Running), "{told:?}");
        assert!(live("web").iter().all(|task| super::stage::image(task) == "last"), "{told:?}");
        let mut slots: Vec<_> = live("web").iter().map(|task| task.slot).collect();
        slots.dedup();
        assert_eq!((slots.len() as u64, live("web").len() as u64), (self.replicas, self.replicas), "{told:?}");
        let all: Vec<_> = live("all").iter().map(|task| (task.node_id.clone(), task.status.state)).collect();
        assert_eq!(all, NODES.map(|node| (Some(node.into()), TaskState::Running)), "{told:?}");
        for node in NODES {
            let here = of("once").into_iter().filter(|task| task.node_id == Some(node.into()));
            let states: Vec<_> = here.map(|task| task.status.state).collect();
            let done = states.iter().filter(|state| matches!(state, TaskState::Running | TaskState::Complete)).count();
            assert_eq!(done, 1, "{states:?}");
        }
        let is = |state| of("job").into_iter().filter(|task| task.status.state == state && is_live(task)).count();
        let complete = of("job").into_iter().filter(|task| task.status.state == TaskState::Complete).count();
        assert_eq!(is(TaskState::Running), (3 - complete.min(3)).min(2), "{told:?}");
    }
}

// === impl Followed ===

impl Followed {
    fn of(store: &Store) -> Self {
        let updates = store.watch([Kind::Cluster, Kind::Node, Kind::Service, Kind::Task]);
        Self { updates, each: World::default(), now_and_then: World::default(), clocks_agree: true }
    }

    /// However they came to know it, all worlds that know the same decide the same; and since everybody has acted, that is
    /// nothing: what had to be looked at was.
    fn check(&mut self, view: &View, now: std::time::SystemTime) {
        while let Some(update) = self.updates.try_next().unwrap() {
            self.each.absorb(&update, now);
        }
        let snapshot = Update::Snapshot(view.clone());
        self.now_and_then.absorb(&snapshot, now);
        let mut anew = World::default();
        anew.absorb(&snapshot, now);
        let (decided, looks) = decided(&anew, now);
        assert_eq!(decided, [""; 0], "what a new leader would do at once");
        // Else how long something has waited depends on when one began to look, so who was there longer starts it earlier.
        for world in [&self.each, &self.now_and_then].into_iter().filter(|_| self.clocks_agree) {
            assert_eq!(self::decided(world, now), (decided.clone(), looks.clone()));
        }
    }
}

/// What a world decides about slots when it looks at everything, and when it will look at them again.
fn decided(world: &World, now: std::time::SystemTime) -> (Vec<String>, Vec<String>) {
    let whole = || Due { whole: true, ..Default::default() };
    let due = world.services.keys().map(|service| (service.clone(), whole())).collect();
    let mut plan = world.plan(&due, now);
    // What a rollout comes to depends on what was seen of it.
    plan.steps.retain(|step| step.slot.is_some());
    plan.alarms.retain(|(.., slot)| slot.is_some());
    (told(&plan), plan.alarms.iter().map(|alarm| format!("{alarm:?}")).collect())
}

fn is_heard(view: &View, task: &Task) -> bool {
    let node = task.node_id.as_ref().and_then(|node| view.get::<Node>(node));
    node.is_some_and(|node| node.status.state() == State::Ready)
}

/// No slot has more tasks than it may, and no service more than its slots.
fn check_slots(view: &View, start_first: bool, replicas: u64) {
    let most = if start_first { 2 } else { 1 };
    let (mut wanted, mut running) = (BTreeMap::<_, usize>::new(), BTreeMap::<_, usize>::new());
    for task in view.all::<Task>() {
        assert_ne!(task.status.state, TaskState::Remove, "REMOVE is never observed");
        assert!(task.status.state < TaskState::Assigned || task.node_id.is_some(), "who is assigned has a node");
        let is_per_node = [Some("all".into()), Some("once".into())].contains(&task.service_id);
        let slot = (task.service_id.clone(), task.slot, task.node_id.clone().filter(|_| is_per_node));
        if task.desired_state == crate::slot::goal(task.job_iteration) && task.status.state < TaskState::Complete {
            *wanted.entry(slot.clone()).or_default() += 1;
        }
        if is_heard(view, task) && task.status.state == TaskState::Running {
            *running.entry(slot).or_default() += 1;
        }
    }
    let is_web = |service: &Option<ServiceId>| *service == Some("web".into());
    for slots in [&wanted, &running] {
        let too_many = slots.iter().find(|((service, ..), tasks)| **tasks > if is_web(service) { most } else { 1 });
        assert_eq!(too_many, None, "more tasks of a slot than may be");
        let of_web = slots.iter().filter(|((service, ..), _)| is_web(service));
        assert!(of_web.clone().count() as u64 <= replicas, "more slots than were asked for: {slots:?}");
    }
}

/// No more of a job is done at once than may be, and nothing twice.
fn check_job(view: &View) {
    let tasks = || view.all::<Task>().filter(|task| task.service_id == Some("job".into()));
    let wanted = tasks().filter(|task| is_live(task) && task.status.state < TaskState::Complete);
    let slots: Vec<_> = wanted.map(|task| task.slot).collect();
    assert!(slots.len() <= 2, "more of a job at once than may be: {slots:?}");
    assert!(slots.iter().all(|slot| *slot < 3), "more of a job than was asked for: {slots:?}");
    let complete = tasks().filter(|task| task.status.state == TaskState::Complete).map(|task| task.slot);
    let mut complete: Vec<_> = complete.collect();
    complete.sort_unstable();
    let all = complete.len();
    complete.dedup();
    assert_eq!(complete.len(), all, "a slot of a job is completed once");
}

/// Nothing that ended by itself was tried again where its policy forbids it.
fn check_restarts(view: &View) {
    let mut slots = BTreeMap::<_, Vec<&Arc<Task>>>::new();
    let web = view.all::<Task>().filter(|task| task.service_id == Some("web".into()));
    for task in web.filter(|task| task.desired_state < TaskState::Remove) {
        slots.entry((task.slot, task.spec_version)).or_default().push(task);
    }
    for tasks in slots.values_mut() {
        tasks.sort_by_key(|task| task.meta.created_version);
        let mut attempts = 0;
        for pair in tasks.windows(2) {
            let policy = Restart::of(&pair[0].spec);
            let state = pair[0].status.state;
            let ended_by_itself = matches!(state, TaskState::Failed | TaskState::Complete | TaskState::Rejected)
                && pair[0].meta.version <= pair[1].meta.created_version;
            let forbidden = match policy.condition {
                RestartCondition::None => true,
                RestartCondition::OnFailure => state == TaskState::Complete && ended_by_itself,
                RestartCondition::Any => false,
            };
            assert!(!forbidden, "{:?} was tried again", pair[0]);
            attempts += u64::from(ended_by_itself);
            assert!(policy.max_attempts == 0 || attempts <= policy.max_attempts, "tried too often: {tasks:?}");
        }
    }
}

async fn play(events: Vec<Event>) {
    let mut history = History::open().await;
    history.check();
    for event in events {
        history = history.happen(event).await;
        history.check();
    }
    history.end_well().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..Default::default() })]

    #[test]
    fn whatever_happens_slots_are_filled_once_and_all_ends_well(events in prop::collection::vec(event(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(events));
    }
}
