//! Cluster orchestration for your own service: the front door of the toolkit.
//!
//! You say what shall run: so many tasks of that kind, on nodes like these, updated so many at a time. A cluster of
//! managers and workers makes it so and keeps it so, on one machine or on many. This crate puts such a cluster into
//! your program. The wire is `docker.swarmkit.v1`, so other SwarmKit clients and workers can talk to it.
//!
//! Each crate of the workspace is a module here, under its own name, and nothing is renamed or added: a program that
//! depends on this crate needs no other one of ours. It has no daemon and no command line; those are `swarmd` and
//! `swarmctl`.
//!
//! # A cluster in one program
//!
//! A manager and an agent, a service, and its tasks RUNNING. What they do is up to the executor; the inert one does
//! nothing, at once.
//!
//! ```
//! use std::sync::Arc;
//!
//! use swarmkit::api::{ServiceId, TaskState, wire};
//! use swarmkit::runtime::{Crew, PartError};
//! use swarmkit::store::{Interest, TaskBy};
//! use swarmkit::{CancellationToken, executor::InertExecutor, node::Node};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), PartError> {
//!     let (state_dir, stop) = (tempfile::tempdir()?, CancellationToken::new());
//!     let node = Node::builder(state_dir.path(), Arc::new(InertExecutor::new())).listen_remote("127.0.0.1:0");
//!     let node = node.start(&stop).await?;
//!     let handle = node.handle();
//!     let mut crew = Crew::under(&stop);
//!     crew.spawn("node", |stop| node.run(stop));
//!     handle.ready().await?;
//!
//!     let container = wire::ContainerSpec { image: "web:1".into(), ..Default::default() };
//!     let runtime = Some(wire::task_spec::Runtime::Container(container));
//!     let spec = wire::ServiceSpec {
//!         annotations: Some(wire::Annotations { name: "web".into(), ..Default::default() }),
//!         task: Some(wire::TaskSpec { runtime, ..Default::default() }),
//!         mode: Some(wire::service_spec::Mode::Replicated(wire::ReplicatedService { replicas: 3 })),
//!         ..Default::default()
//!     };
//!     let mut control = handle.control().ok_or("only managers have one")?;
//!     let answer = control.create_service(wire::CreateServiceRequest { spec: Some(spec) }).await?.into_inner();
//!     let web = ServiceId::from(answer.service.unwrap_or_default().id);
//!
//!     let store = handle.store().ok_or("only managers have one")?;
//!     let mut changes = store.watch(Interest::none().tasks_of_service(web.clone()));
//!     let mut running = 0;
//!     while running < 3 {
//!         let update = changes.next().await?;
//!         let tasks = update.view().find(TaskBy::Service(&web));
//!         running = tasks.filter(|task| task.status.state == TaskState::Running).count();
//!     }
//!     stop.cancel();
//!     crew.finish().await
//! }
//! ```
//!
//! [`NodeHandle::control`](node::NodeHandle::control) is a client of the whole control API, without a socket;
//! [`NodeHandle::store`](node::NodeHandle::store) is for reading and watching: take writes through the control API,
//! which checks them. A second node [joins](node::NodeBuilder::join) with a token of the first. The state directory
//! makes the next start find everything again, tasks that run included. What a manager keeps there is encrypted, with a key
//! that lies beside it; in a cluster that is [locked](node::NodeBuilder::autolock) it is of no use to anybody without the
//! [unlock key](ca::UnlockKey), which every start of a manager is [given](node::NodeBuilder::unlock_key).
//!
//! # What can be replaced
//!
//! These traits are open to implementations of your own. Each says what it obliges to, and has a small implementation
//! here; for most there is a suite that tells whether yours keeps the obligations.
//!
//! | What shall be different | Trait | Where yours goes | Here |
//! |---|---|---|---|
//! | what a task is | [`Executor`], [`Controller`] | [`Node::builder`](node::Node::builder) | [`InertExecutor`](executor::InertExecutor), [`ProcessExecutor`](executor_process::ProcessExecutor), [`DockerExecutor`](executor_docker::DockerExecutor) |
//! | how writes are replicated | [`Proposer`] | [`Store::new`](store::Store::new) | [`LocalProposer`](store::LocalProposer), [`RaftProposer`](raft::RaftProposer) |
//! | networks and their addresses | [`NetworkProvider`] | [`NodeBuilder::networks`](node::NodeBuilder::networks) | [`InertNetworks`](allocator::InertNetworks), [`OverlayNetworks`](overlay_networks::OverlayNetworks) |
//! | where volumes of the cluster come from | [`VolumePlugins`], [`VolumePlugin`] | [`NodeBuilder::volume_plugins`](node::NodeBuilder::volume_plugins) | [`NoPlugins`](csi::NoPlugins), [`CsiPlugins`](csi::CsiPlugins) |
//! | where the values of secrets come from | [`SecretDrivers`], [`SecretDriver`] | [`NodeBuilder::secret_drivers`](node::NodeBuilder::secret_drivers) | [`NoDrivers`](secret_drivers::NoDrivers), [`PluginDrivers`](secret_drivers::PluginDrivers) |
//! | how volumes come to a node | [`NodeVolumes`] | [`NodeBuilder::node_volumes`](node::NodeBuilder::node_volumes) | [`CsiNode`](csi::CsiNode) |
//! | how nodes reach each other | [`Transport`] | [`ManagerConfig`](manager::ManagerConfig), [`Channels::new`](rpc::Channels::new) | [`TlsTransport`](rpc::TlsTransport), [`MemoryTransport`](rpc::MemoryTransport) |
//! | where the log lies | [`Disk`] | [`ManagerConfig`](manager::ManagerConfig) | [`RealDisk`](raft::RealDisk), [`MemoryDisk`](raft::MemoryDisk) |
//! | what time it is | [`Clock`] | [`NodeBuilder::env`](node::NodeBuilder::env) | [`Env::real`](runtime::Env::real), [`Env::seeded`](runtime::Env::seeded) |
//! | how an agent finds managers | [`Managers`] | [`Agent::builder`](agent::Agent::builder) | [`ClusterManagers`](agent::ClusterManagers) |
//!
//! [`Executor`]: executor::Executor
//! [`Controller`]: executor::Controller
//! [`Proposer`]: store::Proposer
//! [`NetworkProvider`]: allocator::NetworkProvider
//! [`Transport`]: rpc::Transport
//! [`VolumePlugin`]: csi::VolumePlugin
//! [`VolumePlugins`]: csi::VolumePlugins
//! [`SecretDriver`]: secret_drivers::SecretDriver
//! [`SecretDrivers`]: secret_drivers::SecretDrivers
//! [`NodeVolumes`]: executor::NodeVolumes
//! [`Disk`]: raft::Disk
//! [`Clock`]: runtime::Clock
//! [`Managers`]: agent::Managers
//!
//! ## What a task is
//!
//! An [`Executor`] describes what its node can run and makes a [`Controller`] for each task that the node is given; the
//! agent drives that through prepare, start, wait, shutdown and remove. Tasks belong to the machine rather than to the
//! program: an executor that is opened again on the same state finds them. [`executor::conformance`] checks it all.
//! `examples/custom_executor.rs` makes functions of the program into tasks.
//!
//! ## How writes are replicated
//!
//! A [`Store`](store::Store) hands each change set to its [`Proposer`], and shows it to readers when that has committed
//! it. Everything above asks for no more than a store: [`allocator::run`], [`orchestrator::run`], [`scheduler::run`]
//! and the [`Dispatcher`](dispatcher::Dispatcher) do not know what lies below. A [`Node`](node::Node) replicates with
//! raft; a program that wants something else composes these parts itself. [`store::conformance`] checks a proposer.
//! `examples/custom_proposer.rs` is a journal in a file, with a whole cluster of one node on it, in 250 lines.
//!
//! ## Networks and their addresses
//!
//! A [`NetworkProvider`] knows which drivers there are, and makes the [`NetworkAllocator`](allocator::NetworkAllocator)
//! of one leader term. That gives out subnets, and addresses to tasks, services and the load balancers of nodes; it is
//! told everything that is stored, and remembers nothing else. Published ports are no business of its: the allocator
//! gives them out by itself. [`allocator::conformance`] checks a provider.
//!
//! ## Where volumes of the cluster come from
//!
//! A [`VolumePlugin`] makes volumes, attaches them to nodes, and deletes them; [`VolumePlugins`] finds it by the name that
//! a volume gives as its driver. What has to be done when is the leader's affair, and what failed is tried again, so each
//! call may come twice. [`csi::conformance`] checks a plugin.
//!
//! ## How nodes reach each other
//!
//! A [`Transport`] dials and listens, and proves who is at the other end; encryption is its own affair. Above it, calls
//! are [`Channel`](rpc::Channel)s on one side and [`Services`](rpc::Services) on the other, and
//! [`Channel::here`](rpc::Channel::here) joins the two within a program. [`rpc::conformance`] checks a transport.
//!
//! ## Where the log lies
//!
//! A [`Disk`] is a flat directory of files that can be appended to, synced and renamed. Raft writes everything that a
//! manager must not forget through it, encrypted. [`MemoryDisk`](raft::MemoryDisk) can be crashed at any moment, and
//! then keeps what a real one would.
//!
//! ## What time it is
//!
//! Time of day, chance and fresh ids come from one [`Env`](runtime::Env), and everything that runs is started by a
//! [`Crew`](runtime::Crew) that awaits it. So whatever you embed can be run in your tests on tokio's paused clock, from
//! one seed.
//!
//! # Where to look
//!
//! From the outside in: [`node`] is one machine's membership in a cluster. It runs an [`agent`] with an [`executor`],
//! and a [`manager`] if its certificate says so. A manager serves [`control`], the [`dispatcher`] and the [`issuer`],
//! and while it leads it runs the [`orchestrator`], the [`allocator`] and the [`scheduler`]. They meet in the
//! [`store`], which [`raft`] replicates. Objects and messages are in [`api`], placeholders in [`template`],
//! certificates in [`ca`], connections in [`rpc`], and [`runtime`] starts and stops it all.
//!
//! # Invariants
//!
//! - Nothing is defined here: every name leads to the crate that owns it.
//! - The examples use this crate and no other one of the workspace.

pub use swarmkit_agent as agent;
pub use swarmkit_allocator as allocator;
pub use swarmkit_api as api;
pub use swarmkit_ca as ca;
pub use swarmkit_control as control;
pub use swarmkit_csi as csi;
pub use swarmkit_dispatcher as dispatcher;
pub use swarmkit_executor as executor;
pub use swarmkit_executor_docker as executor_docker;
pub use swarmkit_executor_process as executor_process;
pub use swarmkit_issuer as issuer;
pub use swarmkit_manager as manager;
pub use swarmkit_node as node;
pub use swarmkit_orchestrator as orchestrator;
pub use swarmkit_overlay_networks as overlay_networks;
pub use swarmkit_raft as raft;
pub use swarmkit_rebalancer as rebalancer;
pub use swarmkit_rpc as rpc;
pub use swarmkit_runtime as runtime;
pub use swarmkit_scheduler as scheduler;
pub use swarmkit_secret_drivers as secret_drivers;
pub use swarmkit_store as store;
pub use swarmkit_template as template;
/// What every part is told to stop by. It is that of `tokio-util`.
pub use tokio_util::sync::CancellationToken;
