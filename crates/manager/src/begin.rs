//! How a manager gets its raft member: from its log, by founding a group, or by being admitted to one.

use std::sync::Arc;

use swarmkit_ca::Identity;
use swarmkit_raft::{
    Begin as RaftBegin, Disk, LogKeys, Messenger, Raft, RaftConfig, RaftOptions, RaftParts, RaftProposer,
};
use swarmkit_rpc::{Channels, Remotes};
use swarmkit_runtime::Env;
use tokio_util::sync::CancellationToken;

use crate::{Begin, Error, join::Applicant};

/// So many other managers are a quorum without this one, which they can replace.
const OTHERS: usize = 2;

/// What a raft member is made of, whichever way it begins.
pub(crate) struct Ingredients {
    pub(crate) env: Env,
    pub(crate) own: Identity,
    pub(crate) addr: String,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) log_keys: LogKeys,
    pub(crate) options: RaftOptions,
    pub(crate) messenger: Arc<dyn Messenger>,
    pub(crate) proposer: RaftProposer,
    /// Stops the member.
    pub(crate) stop: CancellationToken,
}

/// A member that runs, and its parts, which somebody has to await.
pub(crate) type Running = (Raft, RaftParts);

/// A manager's place among the others.
pub(crate) enum Place {
    /// It is a member.
    Member(Box<Running>),
    /// It has to be admitted, for which it must be reachable.
    Applicant(Box<Ingredients>, Remotes),
}

impl Ingredients {
    /// Starts the member, unless it has to be admitted first.
    ///
    /// # Errors
    ///
    /// The log cannot be opened, or there is none although there should be. One that is damaged is set aside if there are
    /// others to get the state from.
    pub(crate) async fn begin(self, begin: &Begin) -> Result<Place, Error> {
        let has_log = Raft::has_state(&*self.disk).await?;
        let heals = matches!(begin, Begin::Join(managers) if managers.list().len() >= OTHERS);
        let begin = match begin {
            Begin::Found(_) => RaftBegin::Bootstrap,
            Begin::Join(managers) if !has_log => return Ok(Place::Applicant(Box::new(self), managers.clone())),
            // A member that has a log knows its own raft id. Founding must be impossible, also with an empty log.
            Begin::Join(_) => RaftBegin::Join { raft_id: 0 },
            Begin::Restart if has_log => RaftBegin::Join { raft_id: 0 },
            Begin::ForceNew if has_log => RaftBegin::ForceNew,
            Begin::Restart | Begin::ForceNew => return Err(Error::NoLog),
        };
        let disk = self.disk.clone();
        let started = self.start(begin).await;
        if let Err(Error::Raft(error)) = &started
            && error.is_damage()
            && heals
        {
            // The next start finds no log, and asks the others to admit it anew.
            Raft::set_aside(&*disk).await?;
        }
        Ok(Place::Member(Box::new(started?)))
    }

    /// Gets admitted, and starts the member.
    ///
    /// # Errors
    ///
    /// The others refuse it, or do not answer; or the log cannot be made.
    pub(crate) async fn join(self, managers: &Remotes, channels: &Channels) -> Result<Running, Error> {
        let applicant = Applicant { env: &self.env, own: &self.own, addr: &self.addr, managers, channels };
        let raft_id = applicant.admission().await?;
        self.start(RaftBegin::Join { raft_id }).await
    }

    async fn start(self, begin: RaftBegin) -> Result<Running, Error> {
        let config = RaftConfig {
            disk: self.disk,
            keys: self.log_keys,
            env: self.env,
            options: self.options,
            node_id: self.own.node,
            addr: self.addr,
            messenger: self.messenger,
            begin,
        };
        Ok(Raft::start(config, &self.proposer, &self.stop).await?)
    }
}
