//! How an agent reaches managers: the seam between the agent and the network.
//!
//! The session, the reporter and the log publisher talk to a [`ManagerClient`] and know nothing of channels,
//! certificates or addresses. [`ClusterManagers`](crate::ClusterManagers) is how a node of a cluster finds them.

use std::{fmt, sync::Arc};

use futures_util::{future::BoxFuture, stream::BoxStream};
use swarmkit_api::wire::{self, swarmkit::exec::v1 as exec};
use tonic::Status;

use crate::ConnectError;

/// A stream of messages from a manager.
pub type Messages<T> = BoxStream<'static, Result<T, Status>>;

/// A call to a manager, under way.
pub type Call<'a, T> = BoxFuture<'a, Result<T, Status>>;

/// One manager, as an agent sees it.
///
/// # Obligations
///
/// - Calls may be made at the same time. A future that is dropped gives up the call.
/// - Dropping a stream ends it at the other side too, soon.
/// - Deadlines are the caller's.
pub trait ManagerClient: Send + Sync + 'static {
    /// Opens a session, or announces a new description within one.
    fn session(&self, request: wire::SessionRequest) -> Call<'_, Messages<wire::SessionMessage>>;
    /// Says that this node is alive.
    fn heartbeat(&self, request: wire::HeartbeatRequest) -> Call<'_, wire::HeartbeatResponse>;
    /// Tells how tasks are doing. Answered when it is recorded.
    fn update_task_status(&self, request: wire::UpdateTaskStatusRequest) -> Call<'_, wire::UpdateTaskStatusResponse>;
    /// Tells which volumes are not published on this node any more.
    fn update_volume_status(
        &self,
        request: wire::UpdateVolumeStatusRequest,
    ) -> Call<'_, wire::UpdateVolumeStatusResponse>;
    /// Asks for what this node shall have: all of it first, then what changes.
    fn assignments(&self, request: wire::AssignmentsRequest) -> Call<'_, Messages<wire::AssignmentsMessage>>;
    /// The same from managers that know no assignments: all tasks with every message.
    fn tasks(&self, request: wire::TasksRequest) -> Call<'_, Messages<wire::TasksMessage>>;
    /// Asks which logs somebody wants to read.
    fn listen_subscriptions(
        &self,
        request: wire::ListenSubscriptionsRequest,
    ) -> Call<'_, Messages<wire::SubscriptionMessage>>;
    /// Sends logs to somebody who wants to read them.
    fn publish_logs(
        &self,
        messages: BoxStream<'static, wire::PublishLogsMessage>,
    ) -> Call<'_, wire::PublishLogsResponse>;
    /// Asks which commands somebody wants to run in the tasks of this node. The default is for managers that have no such
    /// calls.
    fn listen_calls(&self, request: exec::ListenRequest) -> Call<'_, Messages<exec::Assigned>> {
        let _ = request;
        Box::pin(std::future::ready(Err(Status::unimplemented("calls to nodes"))))
    }
    /// Serves one of these. The default is as above.
    fn serve_call(&self, messages: BoxStream<'static, exec::ServeRequest>) -> Call<'_, Messages<exec::Input>> {
        let _ = messages;
        Box::pin(std::future::ready(Err(Status::unimplemented("calls to nodes"))))
    }

    /// Asks for a network for a container that was started outside of the cluster. The default cannot.
    fn attach_network(&self, request: wire::AttachNetworkRequest) -> Call<'_, wire::AttachNetworkResponse> {
        let _ = request;
        Box::pin(std::future::ready(Err(Status::unimplemented("attachments"))))
    }

    /// Ends that. The default cannot.
    fn detach_network(&self, request: wire::DetachNetworkRequest) -> Call<'_, wire::DetachNetworkResponse> {
        let _ = request;
        Box::pin(std::future::ready(Err(Status::unimplemented("attachments"))))
    }
}

/// Where an agent finds managers.
pub trait Managers: Send + Sync + 'static {
    /// Picks a manager and connects to it. The caller sets the deadline.
    ///
    /// # Errors
    ///
    /// When no manager is known, or the one that was picked cannot be reached. The next call may pick another.
    fn connect(&self) -> BoxFuture<'_, Result<Connection, ConnectError>>;

    /// Takes note of all managers that there are, as a manager has just said. Never empty.
    fn learn(&self, managers: &[wire::WeightedPeer]);
}

/// A manager that was reached, and whom to tell how that went.
pub struct Connection {
    client: Arc<dyn ManagerClient>,
    close: Box<dyn FnOnce(Experience) + Send>,
}

/// How well a manager has served, as far as picking it again is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Experience {
    /// The session ended for a reason that is not the manager's.
    Neutral,
    /// The manager failed: pick another one if there is one.
    Bad,
}

impl Connection {
    /// A connection; `close` is called once, when the agent does not need it any more.
    pub fn new(client: Arc<dyn ManagerClient>, close: impl FnOnce(Experience) + Send + 'static) -> Self {
        Self { client, close: Box::new(close) }
    }

    /// The manager at the other end.
    #[must_use]
    pub fn client(&self) -> Arc<dyn ManagerClient> {
        Arc::clone(&self.client)
    }

    /// Ends the connection.
    pub fn close(self, experience: Experience) {
        (self.close)(experience);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}
