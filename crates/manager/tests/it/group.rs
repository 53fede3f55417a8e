//! Several managers of one cluster, on one network.

use std::time::Duration;

use swarmkit_api::wire;
use swarmkit_manager::{Begin, ManagerConfig};
use swarmkit_raft::Crash;
use wire::raft_member_status::Reachability;

use crate::world::{Machine, Running, add_manager, in_time, settle};

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
    pub(crate) async fn kill(&mut self) {
        self.running.take().expect("it runs").kill();
        settle().await;
        self.machine.disk.crash(Crash::LoseAll);
    }

    /// Starts it again on its disk.
    pub(crate) async fn start_again(&mut self) {
        self.start(self.machine.config(Begin::Restart)).await;
    }

    pub(crate) async fn start(&mut self, config: ManagerConfig) {
        self.running = Some(Running::start(config).await.expect("a manager starts"));
    }

    /// Waits until it knows a leader and has a vote.
    pub(crate) async fn takes_part(&self) {
        in_time(self.manager().handle.has_leader()).await.unwrap();
        in_time(self.manager().handle.has_vote()).await.unwrap();
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
        let mut seat = Seat { machine, running: None };
        seat.start(seat.machine.config(begin)).await;
        seat.takes_part().await;
        seats.push(seat);
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

/// The member that a node is, as the leader shows it.
pub(crate) async fn member(manager: &Running, node: &str) -> Option<wire::ManagerStatus> {
    let asked = wire::GetNodeRequest { node_id: node.to_owned() };
    manager.control().get_node(asked).await.unwrap().into_inner().node.unwrap().manager_status
}

/// The members, as the leader shows them to whoever asks on the control socket of a manager.
pub(crate) async fn members(manager: &Running) -> Vec<wire::ManagerStatus> {
    let nodes = manager.control().list_nodes(wire::ListNodesRequest::default()).await.unwrap().into_inner().nodes;
    nodes.into_iter().filter_map(|node| node.manager_status).collect()
}

pub(crate) fn is_reachable(member: &wire::ManagerStatus) -> bool {
    member.reachability() == Reachability::Reachable
}
