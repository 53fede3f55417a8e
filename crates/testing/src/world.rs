//! A small text that becomes a store.

use futures_util::FutureExt as _;
use swarmkit_api::{
    Network, Preemption, Service, ServiceId, TaskState,
    wire::{
        node_status::State,
        restart_policy::RestartCondition,
        swarmkit::{
            orchestration::v1::dependency::Condition,
            scheduling::v1::{
                ClusterScheduling, Strategy,
                affinity::Direction,
                preemption::{Claim, Side, Yield},
            },
        },
    },
};
use swarmkit_store::{Store, StoreError, Transaction, View};
use tokio::task::unconstrained;

use crate::{
    NodeBuilder, ServiceBuilder, TaskBuilder, cluster, config, env, network, node, secret, service, task,
    units::{bytes, duration, nano_cpus, number},
    volume::{volume, volume_word},
};

/// The state that a text describes. See [`store`].
#[must_use]
pub fn world(text: &str) -> View {
    store(text).view()
}

/// A local store in the state that a text describes: statements, separated by `;` or by lines, in this order of words.
///
/// - `node NAME`, then any of `ready` (as by default) `down` `unknown` `disconnected`, `active` (as by default) `pause`
///   `drain`, `manager` `promoted` `demoted`, `cpus=2` `cpus=500m` `memory=1GiB`, `label:KEY=VALUE`, `engine:KEY=VALUE`, `os=linux`,
///   `generic:KIND=UNITS`, `csi:DRIVER=SEGMENT:VALUE,...`.
/// - `service NAME`, then any of `replicas=N` `global` `job=N` `global-job`, `concurrent=N` `iteration=N`, `image=IMAGE`,
///   `cpus=` `memory=` (reservations), `constraint=node.id==a` (without spaces), `restart=none|on-failure|any`,
///   `delay=5s` `max-delay=1m` `stable=1m` `attempts=N`, `parallelism=N` `start-first`, `rebalance` `rebalance=N` (moves in
///   a minute), `strategy=spread|bin-pack`, `near=NAME` `apart=NAME` (wishes) `must-near=NAME` `must-apart=NAME`, each for the
///   node or `NAME@LABEL` (such as `db@node.labels.zone`), `spread=node.labels.zone` (preferences), `priority=N` `max-disrupted=N` (when its tasks make room), `version=N` (of its specification), `network=NAME` `secret=NAME` `config=NAME`, `label:KEY=VALUE`,
///   `after=NAME:running|healthy|completed`, `leaving` (to be deleted when its tasks are gone).
/// - `task ID` as in [`task`], then any of `on NODE`, a state as `swarmctl` writes it (`running`; without one, a task on
///   a node runs and another is new), `wants STATE` (`running` by default), `version=N`, `claims=NODE:TASK,TASK` (room that
///   they make there), `makes-room-for=TASK`. It runs what its service asks
///   for, if that was described before.
/// - `network NAME`, then `leaving` if it is to be deleted when nobody uses it; `secret NAME=DATA`, `config NAME=DATA`, `cluster`
///   or `cluster strategy=bin-pack`.
/// - `volume NAME` (of the driver `disks`, for one user on one node), then any of `active` (as by default) `pause` `drain`,
///   `group=GROUP`, `multi` (for many nodes), `sharing=none|read-only|one-writer|all`, `in=SEGMENT:VALUE,...` (where it can
///   be reached), `unmade` (by its driver), `leaving`, and with a node what its entry says: `pending=` `published=` `unused=`
///   `unpublished=`. A service mounts one with `volume=NAME` `volume=group:GROUP`, or with `reads=NAME` without writing to
///   it; a task has `given=VOLUME` for each of these mounts in turn.
///
/// # Panics
///
/// When the text is none of these, or the store refuses it.
#[must_use]
pub fn store(text: &str) -> Store {
    let store = Store::local(env());
    amend(&store, text);
    store
}

/// Adds what a text describes to a local store, in one transaction.
///
/// # Panics
///
/// As [`store`] does; also when the store is replicated, since that would have to wait.
pub fn amend(store: &Store, text: &str) {
    let statements = text.split([';', '\n']).map(str::trim).filter(|statement| !statement.is_empty());
    let written = store.update(|tx| statements.into_iter().try_for_each(|statement| add(tx, statement)));
    // Tokio makes a future wait now and then, to be fair to others; this one must not.
    unconstrained(written).now_or_never().expect("a local store commits at once").expect("the store takes the world");
}

fn add(tx: &mut Transaction, statement: &str) -> Result<(), StoreError> {
    let mut words = statement.split_whitespace();
    let (kind, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    assert!(!name.is_empty() || kind == "cluster", "`{statement}` names nothing");
    let (key, data) = name.split_once('=').unwrap_or((name, ""));
    let none_left = |mut words: std::str::SplitWhitespace<'_>| {
        assert_eq!(words.next(), None, "too many words in `{statement}`");
    };
    match kind {
        "node" => tx.create(words.fold(node(name).ready(), node_word).build()).map(drop),
        "service" => tx.create(words.fold(service(name), service_word).build()).map(drop),
        "task" => {
            let service = name.split('.').next().unwrap_or_default();
            let service = tx.get::<Service>(&ServiceId::from(service)).cloned();
            tx.create(task_words(name, service.as_deref(), words).build()).map(drop)
        }
        "network" => tx.create(words.fold(network(name), network_word)).map(drop),
        "secret" => tx.create(secret(key, data)).map(|_| none_left(words)),
        "config" => tx.create(config(key, data)).map(|_| none_left(words)),
        "cluster" => {
            let mut cluster = cluster();
            if key == "strategy" {
                let scheduling = ClusterScheduling { strategy: strategy(data).into() };
                std::sync::Arc::make_mut(&mut cluster.spec).scheduling = Some(scheduling);
            }
            tx.create(cluster).map(drop)
        }
        "volume" => tx.create(words.fold(volume(name), volume_word)).map(drop),
        _ => panic!("`{statement}` describes no object"),
    }
}

fn node_word(node: NodeBuilder, word: &str) -> NodeBuilder {
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    match (key, key.split_once(':')) {
        ("ready", _) => node.ready(),
        ("down", _) => node.down(),
        ("unknown", _) => node.state(State::Unknown),
        ("disconnected", _) => node.state(State::Disconnected),
        ("active", _) => node,
        ("pause", _) => node.pause(),
        ("drain", _) => node.drain(),
        ("manager", _) => node.manager(),
        ("promoted", _) => node.promoted(),
        ("demoted", _) => node.demoted(),
        ("cpus", _) => node.nano_cpus(nano_cpus(value)),
        ("memory", _) => node.memory(bytes(value)),
        ("os", _) => node.platform(value, "x86_64"),
        (_, Some(("label", key))) => node.label(key, value),
        (_, Some(("engine", key))) => node.engine_label(key, value),
        (_, Some(("generic", kind))) => node.generic(kind, bytes(value)),
        (_, Some(("csi", driver))) => node.csi(driver, value),
        _ => panic!("a node is not `{word}`"),
    }
}

fn service_word(service: ServiceBuilder, word: &str) -> ServiceBuilder {
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    match (key, key.split_once(':')) {
        ("replicas", _) => service.replicas(number(value)),
        ("global", _) => service.global(),
        ("job", _) => service.job(number(value), number(value)),
        ("global-job", _) => service.global_job(),
        ("concurrent", _) => service.concurrent(number(value)),
        ("iteration", _) => service.iteration(number(value)),
        ("image", _) => service.image(value),
        ("cpus", _) => service.reserve_nano_cpus(nano_cpus(value)),
        ("memory", _) => service.reserve_memory(bytes(value)),
        ("constraint", _) => service.constraint(value),
        ("restart", _) => service.restart(restart_condition(value)),
        ("delay", _) => service.restart_delay(duration(value)),
        ("max-delay", _) => service.restart_max_delay(duration(value)),
        ("stable", _) => service.restart_stable_after(duration(value)),
        ("attempts", _) => service.restart_attempts(number(value)),
        ("start-first", _) => service.starts_first(),
        ("rebalance", _) => service.rebalance(if value.is_empty() { 0 } else { number(value) }),
        ("strategy", _) => service.strategy(strategy(value)),
        ("spread", _) => service.spread_over(value),
        ("near", _) => affinity(service, value, Direction::Near, false),
        ("apart", _) => affinity(service, value, Direction::Apart, false),
        ("must-near", _) => affinity(service, value, Direction::Near, true),
        ("must-apart", _) => affinity(service, value, Direction::Apart, true),
        ("priority", _) => service.priority(value.parse().unwrap_or_else(|_| panic!("`{value}` is no priority"))),
        ("max-disrupted", _) => service.max_disrupted(number(value)),
        ("parallelism", _) => service.parallelism(number(value)),
        ("version", _) => service.spec_version(number(value)),
        ("network", _) => service.network(value),
        ("secret", _) => service.secret(value),
        ("config", _) => service.config(value),
        ("after", _) => after(service, value),
        ("volume", _) => service.cluster_volume(value, false),
        ("reads", _) => service.cluster_volume(value, true),
        ("leaving", _) => service.with(|service| service.pending_delete = true),
        (_, Some(("label", key))) => service.label(key, value),
        _ => panic!("a service is not `{word}`"),
    }
}

fn after(service: ServiceBuilder, text: &str) -> ServiceBuilder {
    let (name, condition) = text.split_once(':').unwrap_or((text, "running"));
    service.after(
        name,
        match condition {
            "running" => Condition::Running,
            "healthy" => Condition::Healthy,
            "completed" => Condition::Completed,
            _ => panic!("`{condition}` is no condition of a dependency"),
        },
    )
}

/// `NAME` or `NAME@LABEL`.
fn affinity(service: ServiceBuilder, text: &str, direction: Direction, required: bool) -> ServiceBuilder {
    let (name, scope) = text.split_once('@').unwrap_or((text, ""));
    service.affinity(name, direction, scope, required)
}

fn strategy(text: &str) -> Strategy {
    match text {
        "spread" => Strategy::Spread,
        "bin-pack" => Strategy::BinPack,
        _ => panic!("`{text}` is no strategy"),
    }
}

fn network_word(mut network: Network, word: &str) -> Network {
    match word {
        "leaving" => network.pending_delete = true,
        _ => panic!("a network is not `{word}`"),
    }
    network
}

fn restart_condition(text: &str) -> RestartCondition {
    match text {
        "none" => RestartCondition::None,
        "on-failure" => RestartCondition::OnFailure,
        "any" => RestartCondition::Any,
        _ => panic!("`{text}` is no restart condition"),
    }
}

fn task_words<'t>(id: &str, service: Option<&Service>, mut words: impl Iterator<Item = &'t str>) -> TaskBuilder {
    let mut task = task(id);
    if let Some(service) = service {
        task = task.of(service);
    }
    let mut observed = None;
    while let Some(word) = words.next() {
        task = match word.split_once('=') {
            Some(("version", version)) => task.spec_version(number(version)),
            Some(("claims", what)) => claims(task, what),
            Some(("makes-room-for", other)) => makes_room(task, other),
            Some(("given", volume)) => task.given_volume(volume),
            _ if word == "on" => task.on(words.next().unwrap_or_else(|| panic!("{id} is on no node"))),
            _ if word == "wants" => task.desired(state(words.next().unwrap_or_default())),
            _ => {
                observed = Some(state(word));
                task
            }
        };
    }
    let placed = task.clone().build().node_id.is_some();
    let default = if placed { TaskState::Running } else { TaskState::New };
    task.state(observed.unwrap_or(default))
}

/// `NODE:TASK,TASK`: room that they make there is kept for it.
fn claims(task: TaskBuilder, what: &str) -> TaskBuilder {
    let (node, tasks) = what.split_once(':').unwrap_or((what, ""));
    let tasks = tasks.split(',').filter(|task| !task.is_empty()).map(str::to_owned).collect();
    let side = Side::Claim(Claim { node_id: node.to_owned(), tasks });
    task.with(|task| task.preemption = Some(Preemption { side: Some(side) }.into()))
}

fn makes_room(task: TaskBuilder, other: &str) -> TaskBuilder {
    let service_id = other.split('.').next().unwrap_or_default().to_owned();
    let side = Side::Yield(Yield { task_id: other.to_owned(), service_id, message: format!("made room for {other}") });
    task.with(|task| task.preemption = Some(Preemption { side: Some(side) }.into()))
}

fn state(word: &str) -> TaskState {
    TaskState::from_str_name(&word.to_ascii_uppercase()).unwrap_or_else(|| panic!("`{word}` is no task state"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use swarmkit_api::{Node, NodeId, Task, TaskId, Volume};

    use super::*;
    use crate::describe;

    #[test]
    fn what_is_described_reads_back_as_the_same_world() {
        let view = world(
            "node a drain manager; node b down; node c pause; node d promoted; node e demoted; service every global
             service nightly job=5 concurrent=2; service web replicas=2; network front
             task every.a wants shutdown; task web.1 on b failed; task web.2",
        );
        let told = describe::<Node>(&view) + &describe::<Service>(&view) + &describe::<Task>(&view);
        let again = world(&told);
        assert_eq!(told, describe::<Node>(&again) + &describe::<Service>(&again) + &describe::<Task>(&again));
        assert_eq!(
            told,
            "node a drain manager\nnode b down\nnode c pause\nnode d promoted\nnode e demoted\n\
             service every global\nservice nightly job=5 concurrent=2\nservice web replicas=2\n\
             task every.a on a running wants shutdown\ntask web.1 on b failed\ntask web.2 new\n"
        );
    }

    #[test]
    fn tasks_run_what_their_service_asks_for_and_share_it() {
        let view = world("service web image=nginx memory=64MiB version=7; task web.1; task web.2");
        let service = view.service_by_name("WEB").unwrap();
        let [one, two] = ["web.1", "web.2"].map(|id| view.get::<Task>(&TaskId::from(id)).unwrap());
        assert_eq!(Some(&*one.spec), service.spec.task.as_ref());
        assert_eq!(one.spec_version, service.spec_version);
        assert!(Arc::ptr_eq(&one.spec, &two.spec));
    }

    #[test]
    fn resources_are_read_with_their_units() {
        let view = world("node a cpus=500m memory=2GiB generic:gpu=2 label:disk=ssd");
        let node = view.get::<Node>(&NodeId::from("a")).unwrap();
        let resources = node.description.as_ref().unwrap().resources.as_ref().unwrap();
        assert_eq!((resources.nano_cpus, resources.memory_bytes, resources.generic.len()), (500_000_000, 2 << 30, 1));
        assert_eq!(node.spec.annotations.as_ref().unwrap().labels["disk"], "ssd");
    }

    #[test]
    fn volumes_tell_what_changes_about_them() {
        let view = world(
            "node a csi:disks=zone:a; volume data drain published=a pending=b group=g multi in=zone:a
             volume logs sharing=all unused=a unpublished=b; service web volume=group:g reads=logs
             task web.1 on a given=data given=logs",
        );
        assert_eq!(
            describe::<Volume>(&view),
            "volume data drain published=a pending=b\nvolume logs unused=a unpublished=b\n"
        );
        let task = view.get::<Task>(&TaskId::from("web.1")).unwrap();
        let given = task.volumes.iter().map(|given| (&*given.id, &*given.source, &*given.target));
        assert_eq!(given.collect::<Vec<_>>(), [("data", "group:g", "/volumes/0"), ("logs", "logs", "/volumes/1")]);
    }

    #[test]
    fn a_misspelt_word_is_refused_by_name() {
        let refused = std::panic::catch_unwind(|| world("node a drian")).unwrap_err();
        assert_eq!(refused.downcast_ref::<String>().unwrap(), "a node is not `drian`");
    }
}
