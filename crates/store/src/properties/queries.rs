//! A query finds what looking at every task finds, in the promised order.

use futures_util::FutureExt as _;
use proptest::prelude::*;
use swarmkit_api::{ConfigId, NetworkId, NodeId, SecretId, ServiceId, Task, TaskState, VolumeId};
use swarmkit_runtime::Env;

use super::script;
use crate::{
    State, Store, TaskBy,
    index::folded,
    tasks::{container_of, runtime_of},
};

fn by_scan(state: &State, test: impl Fn(&Task) -> bool) -> Vec<String> {
    state.all::<Task>().filter(|task| test(task)).map(|task| task.id.to_string()).collect()
}

fn by_query(state: &State, by: TaskBy<'_>) -> Vec<String> {
    state.find(by).map(|task| task.id.to_string()).collect()
}

fn check(state: &State) {
    let is = |by: TaskBy<'_>, test: &dyn Fn(&Task) -> bool| {
        assert_eq!(by_query(state, by), by_scan(state, test), "{by:?} of {state:?}");
    };
    for wanted in [TaskState::New, TaskState::Running, TaskState::Failed, TaskState::Orphaned] {
        is(TaskBy::State(wanted), &|task| task.status.state == wanted);
        is(TaskBy::DesiredState(wanted), &|task| task.desired_state == wanted);
    }
    for number in 0..4 {
        let service = ServiceId::from(format!("svc{number}"));
        is(TaskBy::Service(&service), &|task| task.service_id.as_ref() == Some(&service));
        for slot in 0..4 {
            let in_slot = |task: &Task| task.service_id.as_ref() == Some(&service) && task.slot == slot;
            is(TaskBy::Slot(&service, slot), &in_slot);
        }
        let node = NodeId::from(format!("node{number}"));
        is(TaskBy::Node(Some(&node)), &|task| task.node_id.as_ref() == Some(&node));
        let (network, secret) = (NetworkId::from(format!("n{number}")), SecretId::from(format!("s{number}")));
        is(TaskBy::Network(&network), &|task| task.spec.networks.iter().any(|own| own.target == network.as_str()));
        is(TaskBy::Secret(&secret), &|task| {
            container_of(&task.spec).is_some_and(|spec| spec.secrets.iter().any(|own| own.secret_id == secret.as_str()))
        });
        is(TaskBy::Config(&ConfigId::from(format!("c{number}"))), &|_| false);
        let volume = VolumeId::from(format!("v{number}"));
        is(TaskBy::Volume(&volume), &|task| task.volumes.iter().any(|own| own.id == volume.as_str()));
    }
    is(TaskBy::NoService, &|task| task.service_id.is_none());
    is(TaskBy::Node(None), &|task| task.node_id.is_none());
    for runtime in ["container", "attachment", "process", "Process"] {
        is(TaskBy::Runtime(runtime), &|task| runtime_of(&task.spec).is_some_and(|own| own == runtime));
    }
    for name in state.all::<Task>().map(|task| task.name()).chain(["".into(), "none".into()]) {
        is(TaskBy::Name(&name), &|task| folded(&task.name()) == folded(&name));
    }
    for prefix in ["", ".", "w", "WEB", "web.", "web.x", "web.x.", "web.x.1", "web.1.id", "name", "name1", "none"] {
        let mut scanned: Vec<_> =
            state.all::<Task>().map(|task| (folded(&task.name()).into_owned(), &task.id)).collect();
        scanned.retain(|(name, _)| name.starts_with(folded(prefix).as_ref()));
        scanned.sort();
        let scanned: Vec<_> = scanned.into_iter().map(|(_, id)| id.to_string()).collect();
        assert_eq!(by_query(state, TaskBy::NamePrefix(prefix)), scanned, "{prefix:?} of {state:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn every_query_for_tasks_finds_what_a_scan_finds(scripts in prop::collection::vec(script(), 1..12)) {
        let store = Store::local(Env::real());
        for script in scripts {
            store.update(|tx| script.run(tx)).now_or_never().expect("a local store commits at once").ok();
        }
        check(&store.view());
    }
}
