//! Several managers of one cluster, on one network.

use std::time::Duration;

use swarmkit_api::wire;
use swarmkit_raft::Crash;
use wire::raft_member_status::Reachability;

use crate::world::{Machine, Running, add_manager, in_time};

/// A machine, and the manager that runs on it.
pub(crate) struct Seat {
    pub(crate) machine: Machine,
    pub(crate) running: Option<Running>,
}

impl Seat {
    pub(crate) fn manager(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    /// As SIGKILL and a power cut at once.
    pub(crate) fn kill(&mut self) {
        self.running.take().expect("it runs").kill();
        self.machine.disk.crash(Crash::LoseAll);
    }

    pub(crate) async fn end(&mut self) {
        self.running.take().expect("it runs").end().await.expect("a manager ends in order");
    }
}

/// A cluster of these managers, of which the first has founded it and the others have joined through it.
pub(crate) async fn cluster(names: &[&str]) -> Vec<Seat> {
    let machine = Machine::new(swarmkit_testing::env());
    let running = machine.found().await;
    let mut seats = vec![Seat { machine, running: Some(running) }];
    for name in names {
        let founder = &seats[0];
        add_manager(founder.manager().store(), name).await;
        let machine = founder.machine.beside(name);
        let begin = machine.through(&founder.machine.address());
        let running = Running::start(machine.config(begin)).await.expect("a manager starts");
        running.ready().await;
        in_time(running.handle.has_vote()).await.unwrap();
        seats.push(Seat { machine, running: Some(running) });
    }
    seats
}

/// Waits until one of these leads, and gives its place.
pub(crate) async fn leader(seats: &[Seat]) -> usize {
    in_time(async {
        loop {
            for (at, seat) in seats.iter().enumerate() {
                let Some(running) = &seat.running else { continue };
                if running.handle.leads() {
                    return at;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// The members, as the leader shows them to whoever asks on the control socket of a manager.
pub(crate) async fn members(manager: &Running) -> Vec<wire::ManagerStatus> {
    let nodes = manager.control().list_nodes(wire::ListNodesRequest::default()).await.unwrap().into_inner().nodes;
    nodes.into_iter().filter_map(|node| node.manager_status).collect()
}

pub(crate) fn is_reachable(member: &wire::ManagerStatus) -> bool {
    member.reachability() == Reachability::Reachable
}
