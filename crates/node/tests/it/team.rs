//! Several nodes, some of them managers.

use std::{path::Path, sync::Arc, time::Duration};

use swarmkit_api::{NodeRole, wire, wire::node_status::State};
use swarmkit_executor::{Behaviour, Ending, InertExecutor};
use swarmkit_node::{Node, NodeBuilder, NodeError};
use swarmkit_raft::RaftOptions;
use swarmkit_rpc::Channel;
use swarmkit_runtime::Env;
use swarmkit_store::Store;
use tempfile::TempDir;
use tonic::Status;
use wire::{control_client::ControlClient, raft_member_status::Reachability};

use crate::world::{PATIENCE, Running, Wall, tokens};

/// How often what nobody tells of is looked at.
const POLL: Duration = Duration::from_millis(10);

pub(crate) struct Member {
    pub(crate) running: Running,
    pub(crate) dir: TempDir,
}

/// Nodes by number. One that is stopped keeps its number.
pub(crate) struct Team {
    pub(crate) nodes: Vec<Member>,
    /// What the time is for its nodes.
    wall: Option<Wall>,
}

impl Team {
    /// A cluster of so many managers, all of which have a vote.
    pub(crate) async fn new(managers: usize) -> Self {
        Self::found(managers, false, None).await
    }

    /// The same, and the time of its nodes goes ahead when it is told to.
    pub(crate) async fn with_clock(managers: usize, wall: &Wall) -> Self {
        Self::found(managers, false, Some(wall.clone())).await
    }

    /// The same, and its managers are locked from the first on.
    pub(crate) async fn locked(managers: usize) -> Self {
        Self::found(managers, true, None).await
    }

    async fn found(managers: usize, locked: bool, wall: Option<Wall>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut team = Self { nodes: Vec::new(), wall };
        let running = Running::start(team.calm(dir.path()).autolock(locked)).await.unwrap().ready().await;
        team.nodes.push(Member { running, dir });
        for number in 1..managers {
            team.join(NodeRole::Manager).await;
            team.until_managers(number + 1).await;
        }
        team
    }

    pub(crate) async fn add_worker(&mut self) -> usize {
        self.join(NodeRole::Worker).await
    }

    async fn join(&mut self, role: NodeRole) -> usize {
        let store = self.leader_store().await;
        let (worker, manager_token) = tokens(&store);
        let token = if role == NodeRole::Manager { manager_token } else { worker };
        let address = self.nodes[self.leader().await].running.handle.remote_addr().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let running = Running::start(self.calm(dir.path()).join(address, Some(token))).await.unwrap().ready().await;
        self.nodes.push(Member { running, dir });
        self.nodes.len() - 1
    }

    pub(crate) async fn stop(&mut self, number: usize) {
        self.nodes[number].running.stop().await.unwrap();
    }

    /// Starts a node again that was stopped, with nothing but its state directory.
    pub(crate) async fn start(&mut self, number: usize) {
        self.start_with(number, |set_up| set_up).await.unwrap();
    }

    /// The same, told something else as well.
    pub(crate) async fn start_with(
        &mut self,
        number: usize,
        told: impl FnOnce(NodeBuilder) -> NodeBuilder,
    ) -> Result<(), NodeError> {
        let set_up = told(self.calm(self.nodes[number].dir.path()));
        self.nodes[number].running = Running::start(set_up).await?;
        Ok(())
    }

    /// The number of the node that leads.
    pub(crate) async fn leader(&self) -> usize {
        self.eventually("a leader", async |nodes: &[wire::Node]| {
            let leads = |node: &&wire::Node| node.manager_status.as_ref().is_some_and(|status| status.leader);
            let leader = nodes.iter().find(leads)?;
            self.nodes.iter().position(|node| node.running.handle.id().as_str() == leader.id)
        })
        .await
    }

    /// The number of some manager that does not lead.
    pub(crate) async fn follower(&self) -> usize {
        let leader = self.leader().await;
        let is_follower =
            |number: &usize| *number != leader && self.nodes[*number].running.handle.role() == NodeRole::Manager;
        (0..self.nodes.len()).find(is_follower).expect("a manager that does not lead")
    }

    pub(crate) async fn leader_store(&self) -> Store {
        self.nodes[self.leader().await].running.handle.store().unwrap()
    }

    pub(crate) async fn promote(&self, number: usize) {
        self.wish(number, NodeRole::Manager).await.unwrap();
    }

    pub(crate) async fn demote(&self, number: usize) {
        self.wish(number, NodeRole::Worker).await.unwrap();
    }

    /// Asks for another role, as an operator does who tries again while leaders change and nodes come back.
    pub(crate) async fn wish(&self, number: usize, role: NodeRole) -> Result<(), Status> {
        let id = self.nodes[number].running.handle.id().to_string();
        let mut last = String::new();
        let attempts = async {
            loop {
                let Some(mut control) = self.control() else {
                    tokio::time::sleep(POLL).await;
                    continue;
                };
                let wish = async {
                    let request = wire::GetNodeRequest { node_id: id.clone() };
                    let node = control.get_node(request).await?.into_inner().node.unwrap();
                    let mut spec = node.spec.unwrap();
                    spec.set_desired_role(role);
                    let (node_version, spec) = (node.meta.unwrap().version, Some(spec));
                    let request = wire::UpdateNodeRequest { node_id: id.clone(), node_version, spec };
                    control.update_node(request).await.map(drop)
                };
                match wish.await {
                    Err(status) if !is_final(&status) => last = status.to_string(),
                    result => return result,
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, attempts).await;
        done.unwrap_or_else(|_| panic!("waited in vain for {id} to be wanted as {role:?}: {last}"))
    }

    /// Removes a node by force.
    pub(crate) async fn remove(&self, number: usize) {
        let node_id = self.nodes[number].running.handle.id().to_string();
        let mut control = self.control().expect("a manager");
        control.remove_node(wire::RemoveNodeRequest { node_id, force: true }).await.unwrap();
    }

    pub(crate) async fn create_service(&self, name: &str, replicas: u64) {
        self.create(swarmkit_testing::service(name).replicas(replicas)).await;
    }

    /// A job whose tasks end by themselves, soon after their start.
    pub(crate) async fn create_batch(&self, completions: u64, at_a_time: u64) {
        self.create(swarmkit_testing::service("batch").job(completions, at_a_time)).await;
    }

    /// Changes the number of replicas of a service, as an operator does who tries again while leaders change.
    pub(crate) async fn scale(&self, name: &str, replicas: u64) {
        let mut last = String::new();
        let attempts = async {
            loop {
                let scaled = async {
                    let mut control = self.control().ok_or_else(|| Status::unavailable("no manager"))?;
                    let listed = control.list_services(wire::ListServicesRequest::default()).await?.into_inner();
                    let is_meant =
                        |spec: &wire::ServiceSpec| spec.annotations.as_ref().is_some_and(|named| named.name == name);
                    let mut services = listed.services.into_iter();
                    let service = services.find(|service| service.spec.as_ref().is_some_and(is_meant)).unwrap();
                    let mut spec = service.spec.unwrap();
                    spec.mode = Some(wire::service_spec::Mode::Replicated(wire::ReplicatedService { replicas }));
                    let request = wire::UpdateServiceRequest {
                        service_id: service.id,
                        service_version: service.meta.unwrap().version,
                        spec: Some(spec),
                        ..Default::default()
                    };
                    control.update_service(request).await.map(drop)
                };
                match scaled.await {
                    Ok(()) => return,
                    Err(status) => last = status.to_string(),
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, attempts).await;
        done.unwrap_or_else(|_| panic!("waited in vain for {name} to be scaled: {last}"));
    }

    async fn create(&self, service: swarmkit_testing::ServiceBuilder) {
        let spec = Some((*service.build().spec).clone());
        let request = wire::CreateServiceRequest { spec };
        self.nodes[self.leader().await].running.handle.control().unwrap().create_service(request).await.unwrap();
    }

    /// The raft id of a node, which is none of these.
    pub(crate) async fn member(&self, number: usize, none_of: &[u64]) -> u64 {
        let id = self.nodes[number].running.handle.id().clone();
        self.eventually("its place in raft", async |nodes: &[wire::Node]| {
            let status = nodes.iter().find(|node| node.id == id.as_str())?.manager_status.as_ref()?;
            Some(status.raft_id).filter(|raft_id| !none_of.contains(raft_id))
        })
        .await
    }

    /// Waits until exactly so many nodes are members of raft, and all of them answer and have a vote.
    pub(crate) async fn until_managers(&self, count: usize) {
        self.eventually("members that all answer and have a vote", async |nodes: &[wire::Node]| {
            let members = || nodes.iter().filter(|node| node.manager_status.is_some());
            let answers = |node: &wire::Node| {
                node.manager_status.as_ref().is_some_and(|status| status.reachability() == Reachability::Reachable)
            };
            // Nodes are told of those who have a vote, and no others.
            let leader = members().find(|node| node.manager_status.as_ref().is_some_and(|status| status.leader))?;
            let leader = self.nodes.iter().find(|node| node.running.handle.id().as_str() == leader.id)?;
            let known = std::fs::read_to_string(leader.dir.path().join("state.json")).unwrap_or_default();
            let voters = known.matches("node_id").count();
            (members().count() == count && members().all(answers) && voters == count).then_some(())
        })
        .await;
    }

    /// Waits until a node is a worker, for itself and for the cluster.
    pub(crate) async fn until_worker(&self, number: usize) {
        let handle = &self.nodes[number].running.handle;
        self.eventually("a worker", async |nodes: &[wire::Node]| {
            let node = nodes.iter().find(|node| node.id == handle.id().as_str())?;
            let is_worker = node.role == i32::from(NodeRole::Worker) && handle.role() == NodeRole::Worker;
            let dir = self.nodes[number].dir.path();
            (is_worker && handle.store().is_none() && !dir.join("raft").exists()).then_some(())
        })
        .await;
        // The folder is gone before the key is.
        let key = self.nodes[number].dir.path().join("certificates/swarm-node.key");
        let forgotten = async {
            while std::fs::read_to_string(&key).unwrap().contains("raft-dek") {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(PATIENCE, forgotten).await.expect("in time");
    }

    /// Waits until a node remembers others, where they are now.
    pub(crate) async fn until_known(&self, number: usize, others: &[usize]) {
        let file = self.nodes[number].dir.path().join("state.json");
        let known = async {
            loop {
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                let address = |&other: &usize| self.nodes[other].running.handle.remote_addr();
                if others.iter().filter_map(address).all(|address| text.contains(&address)) {
                    return;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(PATIENCE, known).await.expect("in time");
    }

    pub(crate) async fn until_ready(&self, number: usize) {
        let id = self.nodes[number].running.handle.id().clone();
        self.eventually("a ready node", async |nodes: &[wire::Node]| {
            let node = nodes.iter().find(|node| node.id == id.as_str())?;
            (node.status.as_ref()?.state() == State::Ready).then_some(())
        })
        .await;
    }

    /// Asks the cluster for its nodes until they are as they should be.
    async fn eventually<T>(&self, what: &str, test: impl AsyncFn(&[wire::Node]) -> Option<T>) -> T {
        let mut last = String::new();
        let asking = async {
            loop {
                if let Some(mut control) = self.control() {
                    match control.list_nodes(wire::ListNodesRequest::default()).await {
                        Ok(answer) => {
                            let nodes = answer.into_inner().nodes;
                            if let Some(found) = test(&nodes).await {
                                return found;
                            }
                            last = nodes.iter().map(told).collect();
                        }
                        Err(status) => last = status.message().to_owned(),
                    }
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, asking).await;
        found.unwrap_or_else(|_| panic!("waited in vain for {what}:\n{last}"))
    }

    /// A client of some manager that runs.
    fn control(&self) -> Option<ControlClient<Channel>> {
        let runs = |node: &&Member| node.running.runs() && node.running.handle.role() == NodeRole::Manager;
        self.nodes.iter().filter(runs).find_map(|node| node.running.handle.control())
    }

    /// A node whose managers bear with a machine that has other things to do.
    fn calm(&self, dir: &Path) -> NodeBuilder {
        let millis = Duration::from_millis;
        let patient = RaftOptions {
            heartbeat: millis(150),
            election_min: millis(500),
            election_max: millis(1000),
            ..RaftOptions::default()
        };
        let env = self.wall.as_ref().map_or_else(Env::real, Wall::env);
        let executor = InertExecutor::new().behaving(move |task| match task.service_annotations.name.as_str() {
            "batch" => Behaviour { ending: Ending::After(millis(30), 0), ..Behaviour::default() },
            _ => Behaviour::default(),
        });
        Node::builder(dir, Arc::new(executor)).listen_remote("127.0.0.1:0").raft(patient).env(env)
    }

    pub(crate) async fn end(self) {
        for node in self.nodes {
            node.running.end().await.unwrap();
        }
    }
}

/// Whether asking again would give the same answer: not while leaders change, and not while somebody is on its way back.
fn is_final(status: &Status) -> bool {
    let passes = ["out of sequence", "loss of quorum", "leader", "memberlist"];
    status.code() != tonic::Code::Unavailable && !passes.iter().any(|text| status.message().contains(text))
}

fn told(node: &wire::Node) -> String {
    let state = node.status.clone().unwrap_or_default().state();
    format!("{} {:?} {state:?} {:?}\n", node.id, node.role(), node.manager_status)
}
