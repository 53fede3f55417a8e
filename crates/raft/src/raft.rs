//! Starting, using and stopping one member.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use openraft_rt::WatchReceiver as _;
use rand::Rng as _;
use swarmkit_api::NodeId;
use swarmkit_runtime::{Crew, Env};
use tokio::sync::{Mutex, oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    chance,
    compaction::{Compactor, Ledger, SnapshotPolicy},
    disk::Disk,
    error::RaftError,
    hearing::Hearing,
    log::{Log, LogError, LogOptions, Owner, Writer, refound, settle},
    machine::Machine,
    membership::MemberWatch,
    messenger::Messenger,
    network::{AddressBook, Network},
    options::{RaftId, RaftOptions},
    proposer::{self, RaftProposer},
    receiver::Receiver,
    role::{Announcer, Leadership, Role, is_only_voter},
    rotation::Vault,
    seal::LogKeys,
    snapshot::Shelf,
    stall::{self, Progress},
    types::{Peer, Types},
};

/// How long a member that stops waits for what it has handed out.
const DRAIN: Duration = Duration::from_secs(1);

/// What a member is made of.
pub struct RaftConfig {
    /// Where its log and snapshots lie. Belongs to this member alone.
    pub disk: Arc<dyn Disk>,
    /// What encrypts them.
    pub keys: LogKeys,
    /// Time and chance.
    pub env: Env,
    /// Timing and compaction.
    pub options: RaftOptions,
    /// The node that runs it.
    pub node_id: NodeId,
    /// `host:port` where other managers reach it.
    pub addr: String,
    /// How it reaches them.
    pub messenger: Arc<dyn Messenger>,
    /// How it begins if the disk holds nothing.
    pub begin: Begin,
}

impl RaftConfig {
    fn peer(&self) -> Peer {
        Peer { node_id: self.node_id.to_string(), addr: self.addr.clone() }
    }
}

/// How a member begins that has no state on its disk. One that has goes on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Found a group of one.
    Bootstrap,
    /// Wait for the leader of a group that has admitted us under this raft id.
    Join {
        /// What the leader has answered. No member may ever have had it: one that lost its disk, and with it the memory
        /// of its votes, could otherwise vote a second time.
        raft_id: u64,
    },
    /// Go on alone from the state on the disk, which must hold one, after the quorum of its group was lost for good.
    ///
    /// The member founds a group of one with everything in its log that may have been acknowledged, under a new raft id
    /// that keeps the survivors of the old group away. A member that is alone already simply starts, so a crash at any
    /// moment, or a second attempt, does no harm; but members that have joined since are cut off by a second attempt.
    ForceNew,
}

/// A member that runs. Clones share it.
#[derive(Clone)]
pub struct Raft {
    pub(crate) core: openraft::Raft<Types, Machine>,
    pub(crate) raft_id: u64,
    pub(crate) lease: Duration,
    pub(crate) hearing: Hearing,
    /// Held during a change of the membership: there is one at a time.
    pub(crate) changing: Arc<Mutex<()>>,
    pub(crate) member_watch: MemberWatch,
    leadership: Leadership,
    receiver: Receiver,
    pub(crate) vault: Vault,
    ledger: Ledger,
}

/// The parts of a member. Somebody must run them to their end; dropping them kills the member as a crash does.
#[must_use = "a member lives as long as its parts are run"]
pub struct RaftParts {
    crew: Crew,
    log: Log,
}

impl Raft {
    /// Whether a disk holds the state of a member.
    ///
    /// # Errors
    ///
    /// The disk cannot be read.
    pub async fn has_state(disk: &dyn Disk) -> Result<bool, RaftError> {
        Ok(Log::exists(disk).await?)
    }

    /// Starts a member, on the state that its disk holds if there is any: the store has then what was known to be
    /// committed, and gets the rest before this member leads.
    ///
    /// `proposer` must have been given to a store. Everything runs in a crew below `stop`, whose parts come back beside
    /// the member.
    ///
    /// # Errors
    ///
    /// The disk, the key or the options are not right.
    pub async fn start(
        config: RaftConfig,
        proposer: &RaftProposer,
        stop: &CancellationToken,
    ) -> Result<(Self, RaftParts), RaftError> {
        let applier = proposer.applier().cloned().ok_or(RaftError::NoStore)?;
        let core_config = Arc::new(config.options.to_openraft()?);
        let shelf = Shelf::open(config.disk.clone(), &config.keys, config.env.clone()).await?;
        if config.begin == Begin::ForceNew {
            force_new(&config, &shelf).await?;
        }
        let (log, writer) = open_log(&config, &shelf).await?;
        let raft_id = log.owner().raft_id;
        let pristine = log.is_pristine();
        if pristine && shelf.newest().is_some() {
            return Err(LogError::Missing { file: "the log of this snapshot".to_owned() }.into());
        }
        if log.purged() > shelf.newest().and_then(|snapshot| snapshot.meta.last_log_id) {
            return Err(LogError::Missing { file: "the snapshot that the log begins after".to_owned() }.into());
        }
        let ledger = Ledger::new(&config.options);
        let (machine, applied_term) = Machine::new(applier.clone(), shelf.clone(), ledger.clone());
        let addresses = AddressBook::default();
        let network = Network {
            me: raft_id,
            messenger: config.messenger.clone(),
            addresses: addresses.clone(),
            patience: config.options.election_max,
        };

        let mut crew = Crew::under(stop);
        crew.spawn("raft log", |_| writer.run());
        let under_way = TaskTracker::new();
        let (started, core) = oneshot::channel();
        // Members that were given the same chance must not stand for election at the same moments for ever.
        let seed = config.env.rng(&format!("raft {raft_id}")).next_u64();
        crew.spawn("raft core", {
            let (log, under_way) = (log.clone(), under_way.clone());
            move |stop| {
                chance::seeded(seed, async move {
                    let core = match openraft::Raft::new(raft_id, core_config, network, log.clone(), machine).await {
                        Ok(core) => core,
                        Err(fatal) => {
                            let failure =
                                log.failure().map_or_else(|| RaftError::Fatal(fatal.to_string()), RaftError::from);
                            // The writer ends with the log, and whoever starts the member waits for it.
                            let _ = log.close().await;
                            return Err(failure);
                        }
                    };
                    let _ = started.send(core.clone());
                    stop.cancelled().await;
                    under_way.close();
                    // Whatever is still open then has an unknown fate, and its writers are told so.
                    let _ = tokio::time::timeout(DRAIN, under_way.wait()).await;
                    let _ = core.shutdown().await;
                    log.give_up();
                    log.close().await.map_err(RaftError::from)
                })
            }
        });
        let Ok(core) = core.await else {
            return Err(RaftParts { crew, log }.run().await.err().unwrap_or(RaftError::Stopped));
        };

        let (roles, role) = watch::channel(Role::Follower { leader: None });
        let (members, members_seen) = watch::channel(Vec::new());
        let (queue, queued) = proposer::queue();
        let hearing = Hearing::new(config.options.election_max);
        let progress = Progress::default();
        crew.spawn("proposals", {
            let (core, progress) = (core.clone(), progress.clone());
            move |stop| async move {
                proposer::run(core, applier, queued, under_way, progress, stop).await;
                Ok::<(), RaftError>(())
            }
        });
        let announcer = Announcer {
            me: raft_id,
            raft: core.clone(),
            applied_term,
            proposer: proposer.clone(),
            queue,
            roles,
            members,
            log: log.clone(),
            lease: config.options.election_max,
            hearing: hearing.clone(),
            addresses,
        };
        crew.spawn("role", move |stop| announcer.run(stop));
        let compactor =
            Compactor { raft: core.clone(), log: log.clone(), shelf: shelf.clone(), ledger: ledger.clone() };
        crew.spawn("compaction", move |stop| async move {
            compactor.run(stop.clone()).await;
            // If openraft has ended, others say why, and stop the crew.
            stop.cancelled().await;
            Ok::<(), RaftError>(())
        });

        let vault = Vault::new(config.disk.clone(), config.env.clone(), &log, &shelf, crew.spawner());
        let receiver = Receiver::new(raft_id, core.clone(), shelf, hearing.clone(), crew.spawner());
        let (lease, changing) = (config.options.election_max, Arc::default());
        let (leadership, member_watch) = (Leadership::new(role), MemberWatch::new(members_seen));
        let raft = Self { core, raft_id, lease, hearing, changing, member_watch, leadership, receiver, vault, ledger };
        crew.spawn("stall", {
            let raft = raft.clone();
            move |stop| stall::run(raft, progress, stop)
        });
        raft.begin(&config, pristine).await?;
        tracing::info!(id = %RaftId(raft_id), pristine, "raft has started");
        Ok((raft, RaftParts { crew, log }))
    }

    /// Founds the group, or stands for election if nobody else could.
    async fn begin(&self, config: &RaftConfig, pristine: bool) -> Result<(), RaftError> {
        let stopped = |error: &dyn fmt::Display| RaftError::Fatal(error.to_string());
        if pristine && config.begin == Begin::Bootstrap {
            let founders = BTreeMap::from([(self.raft_id, config.peer())]);
            return self.core.initialize(founders).await.map_err(|error| stopped(&error));
        }
        if self.is_only_voter() {
            self.core.trigger().elect(false).await.map_err(|error| stopped(&error))?;
        }
        Ok(())
    }

    fn is_only_voter(&self) -> bool {
        is_only_voter(self.raft_id, &self.core.server_metrics().borrow_watched().membership_config)
    }

    /// This member's raft id.
    #[must_use]
    pub fn raft_id(&self) -> u64 {
        self.raft_id
    }

    /// What this member may do, and every change of that.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// When a snapshot is taken and what is kept, from now on. Starts as the options say.
    pub fn set_snapshot_policy(&self, policy: SnapshotPolicy) {
        if self.ledger.policy() != policy {
            self.ledger.set_policy(policy);
        }
    }

    /// Takes the messages of other members.
    #[must_use]
    pub fn receiver(&self) -> Receiver {
        self.receiver.clone()
    }
}

impl fmt::Debug for Raft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raft({}, {:?})", RaftId(self.raft_id), self.leadership.current())
    }
}

impl RaftParts {
    /// Runs the member until it is told to stop, and stops it in order: no new change sets, the ones under way for a
    /// moment, then openraft, then the log.
    ///
    /// # Errors
    ///
    /// Why the member could not go on. Nothing was acknowledged that is not durable.
    pub async fn run(self) -> Result<(), RaftError> {
        let ends = self.crew.join().await;
        // The disk is the cause of whatever followed from it.
        if let Some(error) = self.log.failure() {
            return Err(error.into());
        }
        ends.into_iter().try_for_each(|end| end.result).map_err(|error| match error.downcast::<RaftError>() {
            Ok(error) => *error,
            Err(error) => RaftError::Fatal(error.to_string()),
        })
    }
}

impl fmt::Debug for RaftParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RaftParts")
    }
}

/// Opens the log, or begins one.
async fn open_log(config: &RaftConfig, shelf: &Shelf) -> Result<(Log, Writer), RaftError> {
    let owner = fresh_identity(config);
    let options = LogOptions { segment_bytes: config.options.segment_bytes };
    let (log, mut writer) = Log::open(config.disk.clone(), &config.keys, &config.env, &owner, options).await?;
    if log.owner().node_id != config.node_id {
        return Err(RaftError::OtherNode { expected: config.node_id.clone(), found: log.owner().node_id.clone() });
    }
    settle(&log, &mut writer, shelf.newest().and_then(|snapshot| snapshot.meta.last_log_id)).await?;
    Ok((log, writer))
}

/// Turns the state of a survivor into that of a group of one.
async fn force_new(config: &RaftConfig, shelf: &Shelf) -> Result<(), RaftError> {
    if !Raft::has_state(&*config.disk).await? {
        return Err(RaftError::NothingToGoOnFrom);
    }
    let (log, mut writer) = open_log(config, shelf).await?;
    let snapshot = shelf.newest();
    if log.is_pristine() && snapshot.is_none() {
        return Err(RaftError::NothingToGoOnFrom);
    }
    let (founder, peer) = (fresh_identity(config), config.peer());
    Ok(refound(&log, &mut writer, snapshot.as_ref().map(|snapshot| &snapshot.meta), &founder, peer).await?)
}

/// Who a log belongs to that begins now.
fn fresh_identity(config: &RaftConfig) -> Owner {
    let raft_id = match config.begin {
        Begin::Join { raft_id } => raft_id,
        Begin::Bootstrap | Begin::ForceNew => new_raft_id(&config.env),
    };
    Owner { raft_id, node_id: config.node_id.clone() }
}

/// A random raft id: 63 bits, never 0.
#[must_use]
pub fn new_raft_id(env: &Env) -> u64 {
    let mut bytes = [0; 8];
    env.fill_random(&mut bytes);
    (u64::from_le_bytes(bytes) >> 1) + 1
}
