//! Tasks that make room for more important ones: orchestrator, allocator and scheduler on one store, and agents that are
//! played.

use swarmkit_api::{ServiceId, wire::swarmkit::scheduling::v1::preemption::Side};

use super::*;

/// The loops of one leader, and the agents of all nodes.
pub(super) struct Term {
    pub(super) store: Store,
    stop: CancellationToken,
    crew: Crew,
}

impl Term {
    pub(super) fn begin(store: &Store) -> Self {
        let (env, stop) = (testing::env(), CancellationToken::new());
        let mut crew = Crew::under(&stop);
        crew.spawn("orchestrator", |stop| swarmkit_orchestrator::run(env.clone(), store.clone(), stop));
        crew.spawn("allocator", |stop| {
            swarmkit_allocator::run(env.clone(), store.clone(), Arc::new(InertNetworks), stop)
        });
        crew.spawn("scheduler", |stop| swarmkit_scheduler::run(env.clone(), store.clone(), stop));
        Self { store: store.clone(), stop, crew }
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        self.crew.finish().await.expect("the loops end well");
    }

    /// Lets one thing happen after the other until nothing does any more. Tasks that are told to stop do so if `may_stop`.
    pub(super) async fn settle(&self, may_stop: bool) {
        for _ in 0..1000 {
            settle().await;
            let view = self.store.view();
            let Some((task, state)) = view.all::<Task>().find_map(|task| Some((task, next(task, may_stop)?))) else {
                return;
            };
            write(&self.store, |tx| tx.edit(&task.id, |task: &mut Task| task.status.state = state).map(drop)).await;
        }
        panic!("it never ends: {:?}", self.told());
    }

    /// The tasks that are wanted, by service: which run where, and which wait.
    pub(super) fn told(&self) -> String {
        let view = self.store.view();
        let mut all: Vec<_> = view
            .all::<Task>()
            .filter(|task| task.desired_state <= TaskState::Complete)
            .map(|task| {
                let node = task.node_id.as_ref().map_or("-", |node| node.as_str());
                let up = if task.status.state == TaskState::Running { "" } else { "?" };
                format!("{}.{} {node}{up}", task.service_annotations.name, task.slot)
            })
            .collect();
        all.sort();
        all.join(", ")
    }

    fn claims(&self) -> usize {
        let claims = |task: &&Arc<Task>| {
            task.preemption.as_ref().is_some_and(|preemption| matches!(preemption.side, Some(Side::Claim(_))))
        };
        self.store.view().all::<Task>().filter(claims).count()
    }
}

/// What the agent of a node reports of a task next.
fn next(task: &Task, may_stop: bool) -> Option<TaskState> {
    task.node_id.as_ref()?;
    let is_told_to_go = task.desired_state >= TaskState::Shutdown;
    match task.status.state {
        TaskState::New | TaskState::Pending => None,
        state if state <= TaskState::Running && is_told_to_go => may_stop.then_some(TaskState::Shutdown),
        TaskState::Assigned => Some(TaskState::Ready),
        TaskState::Ready if task.desired_state == TaskState::Running => Some(TaskState::Running),
        _ => None,
    }
}

const GIB: i64 = 1 << 30;

fn vip(replicas: u64) -> Service {
    testing::service("vip").replicas(replicas).reserve_memory(GIB).priority(10).build()
}

/// Two nodes that are full of a service without a priority.
async fn full(words: &str) -> Term {
    let store = Store::local(testing::env());
    testing::amend(&store, "node a memory=2GiB; node b memory=2GiB");
    testing::amend(&store, &format!("service low replicas=4 memory=1GiB {words}"));
    let term = Term::begin(&store);
    term.settle(true).await;
    assert_eq!(term.told(), "low.1 a, low.2 b, low.3 a, low.4 b");
    term
}

#[tokio::test(start_paused = true)]
async fn a_more_important_service_gets_its_room_whoever_leads() {
    for new_leader in [false, true] {
        let mut term = full("").await;
        create(&term.store, vip(2)).await;
        term.settle(false).await;
        let waits = "low.1 -?, low.2 b, low.3 -?, low.4 b, vip.1 -?, vip.2 -?";
        assert_eq!(
            (term.told().as_str(), term.claims()),
            (waits, 2),
            "those that go are replaced, and nobody is placed yet"
        );
        if new_leader {
            let store = term.store.clone();
            term.end().await;
            term = Term::begin(&store);
            term.settle(false).await;
            assert_eq!((term.told().as_str(), term.claims()), (waits, 2), "and nobody else has to go");
        }
        term.settle(true).await;
        assert_eq!(term.told(), "low.1 -?, low.2 b, low.3 -?, low.4 b, vip.1 a, vip.2 a");
        assert_eq!(term.claims(), 0);
        let waiting = term.store.view().all::<Task>().find(|task| task.node_id.is_none()).unwrap().status.err.clone();
        assert_eq!(waiting, "no suitable node (insufficient resources on 2 nodes)");
        term.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_made_room_comes_back_when_there_is_some_again() {
    let term = full("").await;
    create(&term.store, vip(2)).await;
    term.settle(true).await;
    write(&term.store, |tx| tx.delete::<Service>(&ServiceId::from("vip")).map(drop)).await;
    term.settle(true).await;
    let told = term.told();
    assert!(!told.contains('?') && told.matches("low.").count() == 4, "{told}");
    let before = term.store.version();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(term.store.version(), before, "and then nothing is written");
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_keeps_as_many_tasks_as_it_says() {
    let term = full("max-disrupted=1").await;
    create(&term.store, vip(3)).await;
    term.settle(true).await;
    assert_eq!(term.claims(), 0);
    let runs = |name: &str| {
        let view = term.store.view();
        let runs = |task: &&Arc<Task>| task.service_annotations.name == name && task.status.state == TaskState::Running;
        view.all::<Task>().filter(runs).count()
    };
    assert_eq!((runs("low"), runs("vip")), (3, 1), "{}", term.told());
    // It asks for one less, so that none is missing, and another one can be spared.
    write(&term.store, |tx| {
        tx.edit(&ServiceId::from("low"), |service: &mut Service| {
            let replicated = swarmkit_api::wire::ReplicatedService { replicas: 3 };
            Arc::make_mut(&mut service.spec).mode =
                Some(swarmkit_api::wire::service_spec::Mode::Replicated(replicated));
        })
        .map(drop)
    })
    .await;
    term.settle(true).await;
    assert_eq!((runs("low"), runs("vip")), (2, 2), "{}", term.told());
    term.end().await;
}
