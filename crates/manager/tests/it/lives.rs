//! What a manager does in its life, and what it finds in the next.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{Node, NodeId, NodeRole, Service, Task, TaskState, wire, wire::issuance_status::State};
use swarmkit_ca::{Expiry, KeySource as _, NodeCertificate, SystemKeys};
use swarmkit_manager::{Begin, Error};
use swarmkit_raft::Crash;
use swarmkit_rpc::{Channel, ControlSocket, connect_unix};
use swarmkit_runtime::{Crew, Env};
use tokio_util::sync::CancellationToken;

use crate::world::{ADDRESS, Machine, Running, add_manager, identity, in_time, settle, until, web};

#[tokio::test]
async fn a_service_that_is_made_on_the_control_socket_gets_its_tasks() {
    let machine = Machine::new(Env::real());
    let manager = machine.found().await;
    let crew = Crew::under(&CancellationToken::new());
    let socket = connect_unix(&machine.socket(), &machine.env, &crew.spawner()).await.unwrap();
    let mut control = wire::control_client::ControlClient::new(socket);
    let made = control.create_service(web("web", 3)).await.unwrap().into_inner().service.unwrap();
    // The only node has no agent, so they wait for one.
    let waiting = |view: &swarmkit_store::View| {
        view.all::<Task>().filter(|task| task.status.state == TaskState::Pending).count() == 3
    };
    until(manager.store(), waiting).await;
    let asked = wire::ListTasksRequest {
        filters: Some(wire::list_tasks_request::Filters { service_ids: vec![made.id], ..Default::default() }),
    };
    assert_eq!(control.list_tasks(asked).await.unwrap().into_inner().tasks.len(), 3);
    manager.end().await.unwrap();
    crew.finish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn services_outlive_a_restart_and_a_power_cut() {
    let machine = Machine::new(swarmkit_testing::env());
    let manager = machine.found().await;
    let tokens = manager.store().view().cluster().unwrap().root_ca.join_tokens.clone();
    manager.control().create_service(web("web", 2)).await.unwrap();
    until(manager.store(), |view| view.count::<Task>() == 2).await;
    let tasks: Vec<_> = manager.store().view().all::<Task>().map(|task| task.id.clone()).collect();
    manager.end().await.unwrap();

    let manager = machine.start_again().await;
    until(manager.store(), |view| view.count::<Service>() == 1).await;
    manager.control().create_service(web("db", 1)).await.unwrap();
    drop(manager); // as a kill does
    settle().await;
    machine.disk.crash(Crash::LoseAll);

    let manager = machine.start_again().await;
    until(manager.store(), |view| view.count::<Service>() == 2 && view.count::<Task>() == 3).await;
    let view = manager.store().view();
    assert!(tasks.iter().all(|id| view.get::<Task>(id).is_some()), "none is lost or made anew");
    assert_eq!(view.cluster().unwrap().root_ca.join_tokens, tokens);
    manager.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_machine_with_a_token_gets_a_certificate_and_is_a_node() {
    let machine = Machine::new(swarmkit_testing::env());
    let manager = machine.found().await;
    let callers = machine.callers();
    let mut authority = wire::node_ca_client::NodeCaClient::new(callers.stranger().await);
    let key = Arc::new(SystemKeys.generate().unwrap());
    let token = manager.store().view().cluster().unwrap().root_ca.join_tokens.clone().unwrap().worker;
    let csr = key.request().unwrap().into();
    let request = wire::IssueNodeCertificateRequest { csr, token, ..Default::default() };
    let node_id = authority.issue_node_certificate(request).await.unwrap().into_inner().node_id;
    let question = wire::NodeCertificateStatusRequest { node_id: node_id.clone() };
    let answer = authority.node_certificate_status(question).await.unwrap().into_inner();
    assert_eq!(answer.status.unwrap().state(), State::Issued);
    let chain = answer.certificate.unwrap().certificate;
    let certificate = NodeCertificate::new(std::str::from_utf8(&chain).unwrap(), key).unwrap();
    certificate.verify(&machine.root, Expiry::Enforced, machine.env.now()).unwrap();
    assert_eq!(certificate.identity().role, NodeRole::Worker);

    let mut dispatcher = wire::dispatcher_client::DispatcherClient::new(callers.worker(&node_id).await);
    let mut session = dispatcher.session(wire::SessionRequest::default()).await.unwrap().into_inner();
    let told = session.message().await.unwrap().unwrap();
    assert_eq!(told.root_ca, machine.root.bundle().as_bytes());
    let addresses: Vec<_> = told.managers.into_iter().filter_map(|manager| Some(manager.peer?.addr)).collect();
    assert_eq!(addresses, [ADDRESS]);
    let ready = |view: &swarmkit_store::View| {
        let node = view.get::<Node>(&NodeId::from(node_id.as_str()));
        node.is_some_and(|node| node.status.state() == wire::node_status::State::Ready)
    };
    until(manager.store(), ready).await;
    manager.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_of_a_manager_says_that_it_leads() {
    let machine = Machine::new(swarmkit_testing::env());
    let manager = machine.found().await;
    let node = wire::GetNodeRequest { node_id: "m".into() };
    let node = manager.control().get_node(node).await.unwrap().into_inner().node.unwrap();
    let status = node.manager_status.unwrap();
    assert!(status.leader && status.raft_id != 0);
    assert_eq!(status.addr, ADDRESS);
    assert_eq!(status.reachability(), wire::raft_member_status::Reachability::Reachable);
    manager.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_manager_is_clean_until_somebody_makes_something() {
    let machine = Machine::new(swarmkit_testing::env());
    let manager = machine.found().await;
    assert!(!manager.handle.is_dirty());
    // The dispatcher has written down by then that it has not heard of the node yet.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = wire::GetNodeRequest { node_id: "m".into() };
    let node = manager.control().get_node(asked).await.unwrap().into_inner().node.unwrap();
    let mut spec = node.spec.unwrap();
    spec.annotations.get_or_insert_default().labels.insert("rack".to_owned(), "7".to_owned());
    let (node_version, spec) = (node.meta.unwrap().version, Some(spec));
    let request = wire::UpdateNodeRequest { node_id: "m".into(), node_version, spec };
    manager.control().update_node(request).await.unwrap();
    assert!(!manager.handle.is_dirty(), "its own node may change");
    manager.control().create_service(web("web", 1)).await.unwrap();
    assert!(manager.handle.is_dirty());
    manager.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_up_is_told_from_the_start_to_the_admission() {
    let founder = Machine::new(swarmkit_testing::env());
    let running = founder.found().await;
    add_manager(running.store(), "m2").await;
    running.end().await.unwrap();
    // There is nobody yet who could admit it.
    let machine = founder.beside("m2");
    let joining = Running::start(machine.config(machine.through(ADDRESS))).await.unwrap();
    let callers = machine.callers();
    let remote = callers.connect_to("m2:1", Some(identity("m", NodeRole::Manager))).await;
    let asked = async |channel: Channel, service: &str| {
        let request = wire::HealthCheckRequest { service: service.to_owned() };
        let answer = wire::health_client::HealthClient::new(channel).check(request).await;
        answer.map(|answer| answer.into_inner().status().as_str_name()).map_err(|status| status.message().to_owned())
    };
    let local = joining.handle.channel();
    settle().await;
    assert_eq!(asked(remote.clone(), "Raft").await, Ok("SERVING"), "the leader asks before it admits a manager");
    assert_eq!(asked(local.clone(), "ControlAPI").await, Ok("NOT_SERVING"));
    assert_eq!(asked(local.clone(), "").await, Ok("SERVING"));
    for (channel, of_the_other) in [(remote, "ControlAPI"), (local.clone(), "Raft")] {
        assert_eq!(asked(channel, of_the_other).await, Err("unknown service".to_owned()));
    }

    let running = founder.start_again().await;
    in_time(joining.handle.has_vote()).await.unwrap();
    assert_eq!(asked(local, "ControlAPI").await, Ok("SERVING"));
    joining.end().await.unwrap();
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn join_tokens_are_replaced_one_by_one() {
    let machine = Machine::new(swarmkit_testing::env());
    let manager = machine.found().await;
    let mut control = manager.control();
    let mut rotate = async |worker_join_token, manager_join_token| {
        let cluster = manager.store().view().cluster().unwrap().clone();
        let request = wire::UpdateClusterRequest {
            cluster_id: cluster.id.to_string(),
            cluster_version: Some(cluster.meta.version.into()),
            spec: Some(wire::ClusterSpec::clone(&cluster.spec)),
            rotation: Some(wire::KeyRotation { worker_join_token, manager_join_token, ..Default::default() }),
        };
        let answer = control.update_cluster(request).await.unwrap().into_inner();
        answer.cluster.unwrap().root_ca.unwrap().join_tokens.unwrap()
    };
    let first = rotate(false, false).await;
    let second = rotate(true, false).await;
    assert!(second.worker != first.worker && second.manager == first.manager);
    let third = rotate(false, true).await;
    assert!(third.worker == second.worker && third.manager != second.manager);
    let digest = |token: &str| swarmkit_ca::JoinToken::parse(token).unwrap().digest();
    assert_eq!(digest(&third.worker), machine.root.digest());
    assert_eq!(digest(&third.manager), machine.root.digest());
    manager.end().await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let machine = Machine::new(Env::real());
    let manager = machine.found().await;
    let mut config = machine.config(Begin::Restart);
    config.control_socket = machine.socket().with_extension("other");
    let told = Running::start(config).await.err().expect("refused");
    assert!(matches!(&told, Error::Listen { address, .. } if address == ADDRESS), "{told}");
    manager.end().await.unwrap();

    let _held = ControlSocket::bind(&machine.socket(), None).await.unwrap();
    let told = Running::start(machine.config(Begin::Restart)).await.err().expect("refused").to_string();
    assert!(told.starts_with("cannot listen on ") && told.contains("control.sock"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_ends_the_manager_and_is_named() {
    let machine = Machine::new(swarmkit_testing::env());
    let manager = machine.found().await;
    machine.disk.fail_syncs();
    let refused = manager.control().create_service(web("web", 1)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{}", refused.message());
    let told = manager.failure().await;
    assert!(!told.contains('\n'), "one line: {told}");
}

#[tokio::test(start_paused = true)]
async fn what_the_cluster_says_of_snapshots_counts_without_a_restart() {
    use swarmkit_api::Cluster;
    use swarmkit_raft::Disk as _;
    let machine = Machine::new(swarmkit_testing::env());
    let running = machine.found().await;
    let snapshots = async || {
        let names = machine.disk.list().await.unwrap();
        names.into_iter().filter(|name| name.ends_with(".snap")).collect::<Vec<_>>()
    };
    for n in 0..20 {
        running.control().create_service(web(&format!("a{n}"), 0)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(snapshots().await.is_empty(), "the default is ten thousand entries");
    let id = running.store().view().cluster().unwrap().id.clone();
    let set = async |interval: u64, kept: u64| {
        let edit = |cluster: &mut Cluster| {
            let raft = Arc::make_mut(&mut cluster.spec).raft.get_or_insert_default();
            (raft.snapshot_interval, raft.keep_old_snapshots) = (interval, kept);
        };
        running.store().update(|tx| tx.edit::<Cluster>(&id, edit)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    set(10, 1).await;
    assert_eq!(snapshots().await.len(), 1);
    for n in 0..30 {
        running.control().create_service(web(&format!("b{n}"), 0)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let kept = snapshots().await;
    assert_eq!(kept.len(), 2, "{kept:?}");
    set(0, 1).await;
    for n in 0..30 {
        running.control().create_service(web(&format!("c{n}"), 0)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(snapshots().await, kept, "none any more");
    running.end().await.unwrap();
    assert_eq!(machine.start_again().await.store().view().count::<Service>(), 80);
}
