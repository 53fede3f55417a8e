//! Whatever happens to tasks, secrets, configs and volumes, to the stream and to drivers: a node that does as it is told ends
//! with exactly what the store says that it shall have.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt as _;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use swarmkit_api::SecretId;
use swarmkit_store::{Interest, Store, StoreError, Transaction, Watch};
use wire::assignment::Item;

use super::*;

const HISTORIES: u64 = 60;
const STEPS: usize = 250;

/// What a node has that does as it is told.
#[derive(Default)]
struct Agent {
    tasks: BTreeMap<String, wire::Task>,
    secrets: BTreeSet<String>,
    configs: BTreeSet<String>,
    volumes: BTreeMap<String, String>,
}

impl Agent {
    fn take(&mut self, changes: Vec<wire::AssignmentChange>) {
        let mut named = BTreeSet::new();
        for change in changes {
            let keep = change.action() == AssignmentAction::Update;
            let name = match change.assignment.unwrap().item.unwrap() {
                Item::Task(task) => {
                    let id = task.id.clone();
                    keep_or_drop(keep, &mut self.tasks, &id, task);
                    format!("task {id}")
                }
                Item::Secret(secret) => {
                    if keep {
                        self.secrets.insert(secret.id.clone())
                    } else {
                        self.secrets.remove(&secret.id)
                    };
                    format!("secret {}", secret.id)
                }
                Item::Config(config) => {
                    if keep {
                        self.configs.insert(config.id.clone())
                    } else {
                        self.configs.remove(&config.id)
                    };
                    format!("config {}", config.id)
                }
                Item::Volume(volume) => {
                    let device = volume.publish_context.get("device").cloned().unwrap_or_default();
                    keep_or_drop(keep, &mut self.volumes, &volume.id, device);
                    format!("volume {}", volume.id)
                }
            };
            assert!(named.insert(name.clone()), "{name} twice in one message");
        }
    }
}

fn keep_or_drop<T>(keep: bool, map: &mut BTreeMap<String, T>, id: &str, value: T) {
    if keep {
        map.insert(id.to_owned(), value);
    } else {
        map.remove(id);
    }
}

/// One history.
struct History {
    rng: SmallRng,
    store: Store,
    watch: Watch,
    set: AssignmentSet,
    /// What drivers were asked and have not answered.
    asked: Vec<Want>,
    complete: bool,
    agent: Agent,
    tasks: u32,
}

impl History {
    fn new(seed: u64) -> Self {
        let store = Store::local(swarmkit_testing::env());
        let (watch, set) = stream(&store);
        let rng = SmallRng::seed_from_u64(seed);
        let history =
            Self { rng, store, watch, set, asked: Vec::new(), complete: true, agent: Agent::default(), tasks: 0 };
        for n in 0..6 {
            history.write(|tx| {
                let mut secret = Secret::new(SecretId::from(format!("s{n}")));
                let spec = Arc::make_mut(&mut secret.spec);
                spec.annotations = Some(wire::Annotations { name: format!("s{n}"), ..Default::default() });
                // s4 is for all tasks, s5 for each its own.
                spec.driver = (n >= 4).then(|| wire::Driver { name: "vault".into(), ..Default::default() });
                tx.create(secret)
            });
            history.write(|tx| {
                let mut config = Config::new(format!("c{n}").as_str().into());
                let named = wire::Annotations { name: format!("c{n}"), ..Default::default() };
                Arc::make_mut(&mut config.spec).annotations = Some(named);
                tx.create(config)
            });
        }
        history
    }

    fn write<T>(&self, edit: impl FnOnce(&mut Transaction) -> Result<T, StoreError>) {
        self.store.update(edit).now_or_never().expect("a local store commits at once").expect("it takes the change");
    }

    /// Something happens.
    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..25 => self.add_task(),
            25..50 => self.change_task(),
            50..58 => self.delete_task(),
            58..75 => self.change_volume(),
            75..85 => self.answer(),
            85..97 => self.read(),
            97..99 => self.fall_behind(),
            _ => self.begin_anew(),
        }
    }

    fn add_task(&mut self) {
        self.tasks += 1;
        let mut spec = wire::TaskSpec::default();
        let mut container = wire::ContainerSpec::default();
        for _ in 0..self.rng.random_range(0..4) {
            let n = self.rng.random_range(0..6);
            let listed = |id: String, kind: ResourceType| wire::ResourceReference {
                resource_id: id,
                resource_type: kind.into(),
            };
            match self.rng.random_range(0..4) {
                0 => spec.resource_references.push(listed(format!("s{n}"), ResourceType::Secret)),
                1 => spec.resource_references.push(listed(format!("c{n}"), ResourceType::Config)),
                2 => container.secrets.push(wire::SecretReference { secret_id: format!("s{n}"), ..Default::default() }),
                _ => container.configs.push(wire::ConfigReference { config_id: format!("c{n}"), ..Default::default() }),
            }
        }
        spec.runtime = Some(Runtime::Container(container));
        let mut task = Task::new(TaskId::from(format!("t{}", self.tasks)), spec);
        task.node_id = Some(if self.rng.random_range(0..5) == 0 { "b".into() } else { "a".into() });
        let states = [TaskState::New, TaskState::Assigned, TaskState::Assigned, TaskState::Running, TaskState::Failed];
        task.status.state = states[self.rng.random_range(0..states.len())];
        task.desired_state = TaskState::Running;
        self.write(|tx| tx.create(task));
    }

    fn any_task(&mut self) -> Option<TaskId> {
        let view = self.store.view();
        let count = view.count::<Task>();
        let nth = self.rng.random_range(0..count.max(1));
        view.all::<Task>().nth(nth).map(|task| task.id.clone())
    }

    fn change_task(&mut self) {
        let Some(task) = self.any_task() else { return };
        let what = self.rng.random_range(0..4);
        let states = [TaskState::Assigned, TaskState::Accepted, TaskState::Running, TaskState::Complete];
        let state = states[self.rng.random_range(0..states.len())];
        self.write(|tx| {
            tx.edit::<Task>(&task, |task| match what {
                0 => task.desired_state = TaskState::Shutdown,
                1 => task.status.message.push('!'),
                _ => task.status.state = task.status.state.max(state),
            })
        });
    }

    fn delete_task(&mut self) {
        if let Some(task) = self.any_task() {
            self.write(|tx| tx.delete::<Task>(&task));
        }
    }

    /// A volume goes one step on its way to the node and back, or vanishes.
    fn change_volume(&mut self) {
        let id = VolumeId::from(format!("v{}", self.rng.random_range(0..3)));
        if self.rng.random_range(0..20) == 0 && self.store.view().get::<Volume>(&id).is_some() {
            return self.write(|tx| tx.delete::<Volume>(&id));
        }
        self.write(|tx| advance(tx, &id));
    }

    /// A driver answers one of the questions.
    fn answer(&mut self) {
        self.asked.append(&mut self.set.take_wants());
        if self.asked.is_empty() {
            return;
        }
        let Want { secret, task } = self.asked.swap_remove(self.rng.random_range(0..self.asked.len()));
        let is_own = secret.id.as_ref() == "s5";
        let provided = (!is_own || has_value(&task.id)).then(|| {
            let mut given = Secret::clone(&secret);
            if is_own {
                given.id = SecretId::from(own_id("s5", &task.id));
            }
            Arc::new(given)
        });
        self.set.provide(Provision { task: task.id.clone(), secret: secret.id.to_string(), provided });
    }

    fn absorb(&mut self) {
        while let Some(update) = self.watch.try_next().unwrap() {
            self.set.absorb(&update);
        }
    }

    /// The node reads one message.
    fn read(&mut self) {
        self.absorb();
        if std::mem::take(&mut self.complete) {
            self.agent = Agent::default();
            self.agent.take(self.set.take_all());
        } else if self.set.has_news() {
            let changes = self.set.take_some();
            assert!((1..=CHANGES_PER_MESSAGE).contains(&changes.len()));
            self.agent.take(changes);
        }
    }

    /// More happened than the stream's queue holds.
    fn fall_behind(&mut self) {
        while self.watch.try_next().unwrap().is_some() {}
        self.set.absorb(&Update::Snapshot(self.store.view()));
    }

    /// The stream breaks, and another one begins.
    fn begin_anew(&mut self) {
        (self.watch, self.set) = stream(&self.store);
        self.asked.clear();
        self.complete = true;
    }

    /// Everything that is under way ends.
    fn settle(&mut self) {
        for n in 0..3 {
            let id = VolumeId::from(format!("v{n}"));
            let leaving = |state: Option<PublishState>| state == Some(PublishState::PendingNodeUnpublish);
            if leaving(self.store.view().get::<Volume>(&id).and_then(|volume| state_here(volume))) {
                self.write(|tx| advance(tx, &id));
            }
        }
        self.read();
        self.absorb();
        while self.set.is_waiting() {
            self.answer();
        }
        while self.set.has_news() {
            self.read();
        }
    }

    /// What the node has is what the store says, and nothing more.
    fn check(&self, seed: u64) {
        let view = self.store.view();
        let (mut secrets, mut configs, mut volumes) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        let mut tasks = BTreeSet::new();
        for task in view.all::<Task>().filter(|task| task.node_id.as_ref().is_some_and(|node| node.as_str() == "a")) {
            if task.status.state < TaskState::Assigned {
                continue;
            }
            tasks.insert(task.id.to_string());
            let told =
                self.agent.tasks.get(task.id.as_str()).unwrap_or_else(|| panic!("{seed}: {} is missing", task.id));
            let desired = TaskState::try_from(told.desired_state).unwrap();
            assert_eq!(desired, task.desired_state, "{seed}: {}", task.id);
            if task.status.state > TaskState::Running {
                continue;
            }
            for dependency in dependencies_of(&task.spec) {
                match dependency {
                    Dependency::Secret(id) if id != "s5" => drop(secrets.insert(id)),
                    Dependency::Secret(id) if has_value(&task.id) => drop(secrets.insert(own_id(&id, &task.id))),
                    Dependency::Secret(_) => {}
                    Dependency::Config(id) => drop(configs.insert(id)),
                }
            }
        }
        for volume in view.all::<Volume>().filter(|volume| state_here(volume) == Some(PublishState::Published)) {
            volumes.insert(volume.id.to_string(), "/dev/a".to_owned());
            secrets.insert("s0".to_owned());
        }
        assert_eq!(self.agent.tasks.keys().cloned().collect::<BTreeSet<_>>(), tasks, "{seed}");
        assert_eq!(self.agent.secrets, secrets, "{seed}");
        assert_eq!(self.agent.configs, configs, "{seed}");
        assert_eq!(self.agent.volumes, volumes, "{seed}");
    }
}

fn stream(store: &Store) -> (Watch, AssignmentSet) {
    let interest = Interest::none().tasks_of_node("a".into()).volumes_of_node("a".into());
    (store.watch(interest), AssignmentSet::new("a".into()))
}

/// Whether the driver has a value for this task alone.
fn has_value(task: &TaskId) -> bool {
    !task.as_str().ends_with('3')
}

fn state_here(volume: &Volume) -> Option<PublishState> {
    volume.publish_status.iter().find(|entry| entry.node_id == "a").map(wire::VolumePublishStatus::state)
}

fn advance(tx: &mut Transaction, id: &VolumeId) -> Result<(), StoreError> {
    let Some(stored) = tx.get::<Volume>(id).cloned() else {
        let mut volume = Volume::new(id.clone());
        let spec = Arc::make_mut(&mut volume.spec);
        spec.annotations = Some(wire::Annotations { name: id.to_string(), ..Default::default() });
        spec.driver = Some(wire::Driver { name: "csi".into(), ..Default::default() });
        spec.secrets = vec![wire::VolumeSecret { key: "password".into(), secret: "s0".into() }];
        return tx.create(volume).map(drop);
    };
    let next = match state_here(&stored) {
        None => Some(PublishState::PendingPublish),
        Some(PublishState::PendingPublish) => Some(PublishState::Published),
        Some(PublishState::Published) => Some(PublishState::PendingNodeUnpublish),
        Some(PublishState::PendingNodeUnpublish) => Some(PublishState::PendingUnpublish),
        Some(PublishState::PendingUnpublish) => None,
    };
    let entry = |node: &str, state: PublishState| wire::VolumePublishStatus {
        node_id: node.into(),
        state: state.into(),
        publish_context: [("device".to_owned(), format!("/dev/{node}"))].into(),
        ..Default::default()
    };
    tx.edit::<Volume>(id, |volume| {
        let here = next.map(|state| entry("a", state));
        volume.publish_status = here.into_iter().chain([entry("b", PublishState::Published)]).collect();
    })?;
    Ok(())
}

#[test]
fn a_node_that_does_as_it_is_told_has_what_the_store_says_whatever_happened() {
    for seed in 0..HISTORIES {
        let mut history = History::new(seed);
        for _ in 0..STEPS {
            history.step();
        }
        history.settle();
        history.check(seed);
        history.fall_behind();
        history.settle();
        history.check(seed);
    }
}
