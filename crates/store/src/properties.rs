//! What holds for every sequence of transactions, commits and failures.

mod queries;

use std::{collections::VecDeque, sync::Arc};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use proptest::prelude::*;
use swarmkit_api::{
    Extension, Kind, Network, Node, NodeRole, Resource, Service, Task, TaskState, Version, Volume,
    wire::{self, task_spec::Runtime},
};
use swarmkit_runtime::Env;

use crate::{
    Applied, Applier, Digest, Interest, Pending, Proposal, ProposeError, Proposer, Store, StoreError, Transaction,
    Update, state::Tables,
};

/// One write. Ids, names and keys are few, so that they clash.
#[derive(Clone, Debug)]
struct Write {
    kind: Kind,
    delete: bool,
    id: u8,
    name: u8,
    /// Decides everything else of the object.
    rest: u16,
}

/// One transaction, of which some parts fail by themselves.
#[derive(Clone, Debug)]
struct Script {
    writes: Vec<Write>,
    /// The writes from here on are an attempt that is taken back.
    attempt_from: usize,
    fails: bool,
}

fn write() -> impl Strategy<Value = Write> {
    let kinds = prop_oneof![
        4 => Just(Kind::Task),
        2 => Just(Kind::Node),
        2 => Just(Kind::Service),
        1 => Just(Kind::Network),
        1 => Just(Kind::Resource),
        1 => Just(Kind::Extension),
        1 => Just(Kind::Volume)
    ];
    (kinds, prop::bool::weighted(0.25), 0..6_u8, 0..6_u8, any::<u16>())
        .prop_map(|(kind, delete, id, name, rest)| Write { kind, delete, id, name, rest })
}

fn script() -> impl Strategy<Value = Script> {
    (prop::collection::vec(write(), 0..8), 0..12_usize, prop::bool::weighted(0.1))
        .prop_map(|(writes, attempt_from, fails)| Script { writes, attempt_from, fails })
}

impl Write {
    fn id(&self) -> String {
        format!("id{}", self.id)
    }

    /// Some bits of what decides the rest, for one field.
    fn pick(&self, shift: u32, choices: u16) -> u16 {
        (self.rest >> shift) % choices
    }

    fn annotations(&self) -> wire::Annotations {
        let index = |n: u16| wire::IndexEntry { key: format!("k{}", n % 2), val: format!("v{n}") };
        wire::Annotations {
            name: format!("{}{}", if self.pick(0, 2) == 0 { "Name" } else { "nAME" }, self.name),
            indices: (0..self.pick(1, 3)).map(index).collect(),
            ..Default::default()
        }
    }

    fn spec(&self) -> wire::TaskSpec {
        let network = |n: u16| wire::NetworkAttachmentConfig { target: format!("n{n}"), ..Default::default() };
        let secret = |n: u16| wire::SecretReference { secret_id: format!("s{n}"), ..Default::default() };
        let container =
            wire::ContainerSpec { secrets: (0..self.pick(2, 3)).map(secret).collect(), ..Default::default() };
        let generic = wire::GenericRuntimeSpec { kind: "Process".into(), payload: None };
        wire::TaskSpec {
            networks: (0..self.pick(4, 3)).map(network).collect(),
            runtime: match self.pick(6, 3) {
                0 => None,
                1 => Some(Runtime::Container(container)),
                _ => Some(Runtime::Generic(generic)),
            },
            ..Default::default()
        }
    }

    fn task(&self) -> Task {
        let states = [TaskState::New, TaskState::Running, TaskState::Failed];
        let mut task = Task::new(self.id().as_str().into(), self.spec());
        task.service_id = (self.pick(0, 3) > 0).then(|| format!("svc{}", self.pick(0, 3)).into());
        task.spec_version = Some(Version(self.pick(1, 2).into()));
        task.slot = self.pick(2, 3).into();
        let name = ["web", "Web", "web.x", ""][usize::from(self.pick(10, 4))];
        task.service_annotations = Arc::new(wire::Annotations { name: name.into(), ..Default::default() });
        task.node_id = (self.pick(3, 3) > 0).then(|| format!("node{}", self.pick(3, 3)).into());
        task.status.state = states[usize::from(self.pick(5, 3))];
        task.desired_state = states[usize::from(self.pick(7, 3))];
        if self.pick(8, 2) == 0 {
            task.annotations = self.annotations();
        }
        let volume = |n: u16| wire::VolumeAttachment { id: format!("v{n}"), ..Default::default() };
        task.volumes = (0..self.pick(9, 3)).map(volume).collect();
        task
    }

    fn node(&self) -> Node {
        let mut node = Node::new(self.id().as_str().into());
        let annotations = Some(self.annotations());
        node.spec = Arc::new(wire::NodeSpec { annotations, membership: self.pick(3, 2).into(), ..Default::default() });
        let hostname = format!("Host{}", self.name);
        node.description =
            (self.pick(4, 3) > 0).then(|| Arc::new(wire::NodeDescription { hostname, ..Default::default() }));
        node.role = if self.pick(5, 2) == 0 { NodeRole::Worker } else { NodeRole::Manager };
        node
    }

    fn service(&self) -> Service {
        let (annotations, task) = (Some(self.annotations()), Some(self.spec()));
        Service::new(self.id().as_str().into(), wire::ServiceSpec { annotations, task, ..Default::default() })
    }

    fn network(&self) -> Network {
        let mut network = Network::new(self.id().as_str().into());
        network.spec = Arc::new(wire::NetworkSpec { annotations: Some(self.annotations()), ..Default::default() });
        network
    }

    fn extension(&self) -> Extension {
        let mut extension = Extension::new(self.id().as_str().into());
        extension.annotations = self.annotations();
        extension
    }

    fn resource(&self) -> Resource {
        let mut resource = Resource::new(self.id().as_str().into());
        resource.annotations = self.annotations();
        resource.kind = format!("NAME{}", self.pick(3, 6));
        resource
    }

    fn volume(&self) -> Volume {
        let mut volume = Volume::new(self.id().as_str().into());
        let driver = (self.pick(4, 4) > 0).then(|| wire::Driver { name: "csi".into(), ..Default::default() });
        let group = format!("g{}", self.pick(6, 2));
        volume.spec =
            Arc::new(wire::VolumeSpec { annotations: Some(self.annotations()), group, driver, ..Default::default() });
        volume
    }

    /// Does the write, whatever is there; a broken rule is an error.
    fn run(&self, tx: &mut Transaction) -> Result<(), StoreError> {
        macro_rules! run {
            ($kind:ident, $object:expr) => {{
                let mut object = $object;
                if self.delete {
                    return tx.delete::<$kind>(&object.id).map(drop);
                }
                match tx.get::<$kind>(&object.id).map(|stored| stored.meta) {
                    Some(meta) => {
                        object.meta = meta;
                        tx.update(object).map(drop)
                    }
                    None => tx.create(object).map(drop),
                }
            }};
        }
        match self.kind {
            Kind::Task => run!(Task, self.task()),
            Kind::Node => run!(Node, self.node()),
            Kind::Service => run!(Service, self.service()),
            Kind::Network => run!(Network, self.network()),
            Kind::Extension => run!(Extension, self.extension()),
            Kind::Resource => run!(Resource, self.resource()),
            Kind::Volume | Kind::Cluster | Kind::Secret | Kind::Config => run!(Volume, self.volume()),
        }
    }
}

impl Script {
    fn run(&self, tx: &mut Transaction) -> Result<(), StoreError> {
        for write in self.writes.iter().take(self.attempt_from) {
            // A write that breaks a rule must leave no trace, so the others go on.
            write.run(tx).ok();
        }
        let before = (tx.tables.clone(), tx.changes(), tx.size());
        let attempt = tx.attempt(|tx| {
            for write in self.writes.iter().skip(self.attempt_from) {
                write.run(tx).ok();
            }
            Err::<(), _>(StoreError::NotFound)
        });
        assert_eq!(attempt, Err(StoreError::NotFound));
        assert_eq!(before, (tx.tables.clone(), tx.changes(), tx.size()), "an attempt left a trace");
        if self.fails { Err(StoreError::NotFound) } else { Ok(()) }
    }
}

/// The same tables, made from nothing.
fn rebuilt(tables: &Tables) -> Tables {
    let mut fresh = Tables::default();
    tables.every().for_each(|object| {
        let digest = Digest::of(&object);
        drop(fresh.put_any(object, digest));
    });
    fresh
}

fn restored(from: &Store) -> Store {
    let to = Store::local(Env::real());
    let mut restore = to.applier().restore();
    from.applier().snapshot().chunks().for_each(|piece| restore.chunk(&piece).unwrap());
    to.applier().install(restore).unwrap();
    to
}

/// A proposer that keeps everything for the test to decide.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<VecDeque<Proposal>>>);

impl Proposer for Held {
    fn attach(&self, _: Applier) {}

    fn propose(&self, proposal: Proposal) -> Result<(), ProposeError> {
        self.0.lock().push_back(proposal);
        Ok(())
    }
}

/// What happens next to a leader.
#[derive(Clone, Debug)]
enum Step {
    Submit(Script),
    Commit,
    /// The oldest proposal fails for good, and so all after it.
    Reject,
    /// Leadership is lost; so many of the proposals survive elsewhere, and commit when it is regained.
    Lose(usize),
    /// Leadership is lost, and regained before what survived is applied.
    Rush(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => script().prop_map(Step::Submit),
        5 => Just(Step::Commit),
        1 => Just(Step::Reject),
        1 => (0..4_usize).prop_map(Step::Lose),
        1 => (0..4_usize).prop_map(Step::Rush),
    ]
}

/// A leader, the log of its cluster, and a follower.
struct Cluster {
    held: Held,
    leader: Store,
    follower: Store,
    /// Outcomes that are waited for, with what the transaction made, if it wrote anything.
    waiting: Vec<(Pending, Option<u64>)>,
    /// The nonces of what was committed, in order.
    committed: Vec<u64>,
}

impl Cluster {
    fn new() -> Self {
        let held = Held::default();
        let leader = Store::new(Env::real(), held.clone());
        Self { held, leader, follower: Store::local(Env::real()), waiting: Vec::new(), committed: Vec::new() }
    }

    fn submit(&mut self, script: &Script) {
        let before = self.held.0.lock().len();
        if let Ok(((), pending)) = self.leader.submit(|tx| script.run(tx)).now_or_never().expect("there is a place") {
            let queue = self.held.0.lock();
            let nonce = (queue.len() > before).then(|| queue.back().expect("just queued").id.nonce);
            self.waiting.push((pending, nonce));
        }
    }

    /// Puts an entry into the log: every replica applies it.
    fn log(&mut self, proposal: &Proposal) {
        let here = self.leader.applier().apply(&proposal.payload).unwrap();
        let there = self.follower.applier().apply(&proposal.payload).unwrap();
        assert_eq!(here, there, "replicas disagree on whether an entry counts");
        if let Applied::Committed(version) = here {
            assert_eq!(version, proposal.id.version);
            self.committed.push(proposal.id.nonce);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Submit(script) => self.submit(&script),
            Step::Commit => {
                let next = self.held.0.lock().pop_front();
                next.iter().for_each(|proposal| self.log(proposal));
            }
            Step::Reject => {
                // Some may be from before a loss of leadership, and are nobody's any more.
                let lost = std::mem::take(&mut *self.held.0.lock());
                for lost in lost {
                    self.leader.applier().reject(lost.id, ProposeError::Failed("test".into()));
                }
            }
            Step::Lose(survivors) => {
                let lost: Vec<_> = self.held.0.lock().drain(..).take(survivors).collect();
                self.leader.applier().abandon(&ProposeError::Unknown);
                lost.iter().for_each(|proposal| self.log(proposal));
            }
            Step::Rush(survivors) => {
                self.held.0.lock().truncate(survivors);
                self.leader.applier().abandon(&ProposeError::Unknown);
            }
        }
    }

    /// Whether what writers were told agrees with the log.
    fn check_outcomes(&mut self) {
        for (pending, nonce) in self.waiting.drain(..) {
            let outcome = pending.now_or_never().expect("every proposal has ended");
            let Some(nonce) = nonce else { continue };
            let committed = self.committed.contains(&nonce);
            match outcome {
                Ok(_) => assert!(committed, "acknowledged, and not in the log"),
                Err(StoreError::Propose(ProposeError::Unknown)) => {}
                Err(error) => assert!(!committed, "called failed ({error}), and in the log"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn indexes_are_those_of_a_store_made_from_nothing(scripts in prop::collection::vec(script(), 1..12)) {
        let store = Store::local(Env::real());
        for script in scripts {
            store.update(|tx| script.run(tx)).now_or_never().expect("a local store commits at once").ok();
            let view = store.view();
            prop_assert_eq!(&view.tables, &rebuilt(&view.tables));
        }
        let again = restored(&store);
        prop_assert_eq!(&again.view().tables, &store.view().tables);
        prop_assert_eq!(again.version(), store.version());
    }

    #[test]
    fn a_view_never_changes_and_a_failed_transaction_changes_nothing(scripts in prop::collection::vec(script(), 1..12)) {
        let store = Store::local(Env::real());
        let mut kept = Vec::new();
        for script in scripts {
            let before = store.view();
            kept.push((before.clone(), store.applier().snapshot().to_bytes()));
            let outcome = store.update(|tx| script.run(tx)).now_or_never().expect("a local store commits at once");
            if outcome.is_err() {
                prop_assert!(Arc::ptr_eq(&before.0, &store.view().0));
            }
        }
        for (view, bytes) in kept {
            prop_assert_eq!(crate::Snapshot::of(view).to_bytes(), bytes);
        }
    }

    #[test]
    fn replicas_agree_and_writers_are_told_the_truth_whatever_fails(steps in prop::collection::vec(step(), 1..40)) {
        let mut cluster = Cluster::new();
        let mut watch = cluster.leader.watch(Interest::all());
        let mut mirror = Tables::default();
        for step in steps {
            cluster.step(step);
            prop_assert_eq!(&cluster.leader.view().tables, &cluster.follower.view().tables);
        }
        while !cluster.held.0.lock().is_empty() {
            cluster.step(Step::Commit);
        }
        cluster.check_outcomes();
        let (leader, follower) = (cluster.leader.view(), cluster.follower.view());
        prop_assert_eq!(&leader.tables, &follower.tables);
        prop_assert_eq!(leader.version().0, Version::EMPTY.0 + cluster.committed.len() as u64);
        while let Some(update) = watch.try_next().unwrap() {
            match update {
                Update::Snapshot(view) => mirror = view.tables.clone(),
                Update::Delta(delta) => {
                    for change in delta.changes.iter() {
                        match change.after() {
                            Some(object) => {
                                let digest = Digest::of(&object);
                                drop(mirror.put_any(object, digest));
                            }
                            None => drop(mirror.remove_any(change.kind(), change.id())),
                        }
                    }
                    prop_assert_eq!(&mirror, &delta.view.tables);
                }
            }
        }
        prop_assert_eq!(&mirror, &leader.tables);
        // Whatever happened, the next writer gets through.
        let node = Node::new("next".into());
        let (_, pending) = cluster.leader.submit(|tx| tx.create(node)).now_or_never().expect("there is a place").unwrap();
        cluster.step(Step::Commit);
        prop_assert!(matches!(pending.now_or_never(), Some(Ok(_))));
    }
}
