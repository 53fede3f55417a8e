//! Looking at a member's disk from outside: what its log and snapshots say, and whether they are whole.
//!
//! An [`Inspector`] opens no log and repairs nothing, so it can be pointed at a member that does not start. It goes on
//! after damage, and names the file and the offset of everything that it cannot read.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use openraft::EntryPayload;
use swarmkit_runtime::Env;
use swarmkit_store::{Applied, ApplyError, Store, View};

use crate::{
    disk::{self, Disk},
    log::{LogError, Walk, segment_number},
    proposer::RaftProposer,
    role::{Member, to_member},
    seal::{LogKey, Sealer},
    snapshot::{SnapshotFile, SnapshotReader, is_snapshot, is_unfinished},
    types::{Entry, Membership, SnapshotMeta, term_of},
};

/// Reads the log and the snapshots on one disk. Clones are cheap.
#[derive(Clone)]
pub struct Inspector {
    disk: Arc<dyn Disk>,
    keys: Vec<LogKey>,
    env: Env,
}

/// Something that was met on the way through the files.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inspected {
    /// A record that can be read.
    Record(LogRecord),
    /// A batch that was being written when the member ended. Nobody was told that it was durable, and the member cuts
    /// it off at its next start.
    Tail(Tail),
    /// Something that was durable once and cannot be read, or does not belong there.
    Damage(Finding),
}

/// One record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// The segment, relative to the folder.
    pub file: String,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// What it says.
    pub content: Content,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// A segment begins.
    Start {
        /// The member whose log it is.
        raft_id: u64,
        /// The node that runs the member.
        node_id: String,
    },
    /// An entry without content: a leader has begun its term.
    Blank {
        /// Of the entry.
        term: u64,
        /// Of the entry.
        index: u64,
    },
    /// An entry with a change set of the store, an encoded `InternalRaftRequest`.
    Changes {
        /// Of the entry.
        term: u64,
        /// Of the entry.
        index: u64,
        /// The change set. It may hold secrets.
        payload: Bytes,
    },
    /// An entry that says who takes part from here on.
    Membership {
        /// Of the entry.
        term: u64,
        /// Of the entry.
        index: u64,
        /// By raft id.
        members: Vec<Member>,
    },
    /// A vote.
    Vote {
        /// In this term.
        term: u64,
        /// For this member.
        candidate: u64,
        /// A quorum has given it the same vote.
        granted: bool,
    },
    /// Every entry up to this one is known to be committed. Written beside other records only, so it lags.
    Committed {
        /// Of the entry.
        term: u64,
        /// Of the entry.
        index: u64,
    },
    /// Every entry after this index was taken back; all of them without one.
    Truncated {
        /// The index.
        after: Option<u64>,
    },
    /// Every entry up to this one is in a snapshot, and was dropped.
    Purged {
        /// Of the entry.
        term: u64,
        /// Of the entry.
        index: u64,
    },
    /// From here on the log belongs to this member.
    Owner {
        /// The member.
        raft_id: u64,
        /// The node that runs it.
        node_id: String,
    },
    /// This member proposed entries up to this one as a leader, and told their writers that their fate is unknown.
    GivenUp {
        /// Of the newest of those entries.
        term: u64,
        /// Of the same entry.
        index: u64,
    },
}

/// The unfinished end of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The newest segment.
    pub file: String,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} is damaged at byte {offset}: {what}")]
pub struct Finding {
    /// The file, relative to the folder.
    pub file: String,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How much cannot be read, in bytes; 0 where something else is wrong, or nobody knows.
    pub bytes: u64,
    /// What is wrong.
    pub what: String,
}

/// A snapshot that was read from its first byte to its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotReport {
    /// The file, relative to the folder.
    pub file: String,
    /// Of the newest entry that it stands for; 0 if it stands for none.
    pub term: u64,
    /// Of the same entry.
    pub index: u64,
    /// How much data it has, in bytes.
    pub bytes: u64,
    /// Who took part at that entry.
    pub members: Vec<Member>,
    /// What is wrong with it, if anything.
    pub damage: Option<Finding>,
}

/// The store as the files on the disk make it.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// All objects.
    pub view: View,
    /// Who takes part, as far as entries say.
    pub members: Vec<Member>,
    /// The snapshot that it began with, if there is one.
    pub snapshot: Option<SnapshotReport>,
    /// The index of the newest entry that was applied, or of the snapshot.
    pub applied: u64,
    /// The highest index that is known to be committed. Entries beyond are in the view all the same: the group may have
    /// committed them, or may take them back.
    pub committed: u64,
    /// How many change sets were skipped, as members skip them: what they were built on was not committed.
    pub superseded: u64,
}

/// Why a disk cannot be read as a whole.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The disk failed, or a snapshot is damaged.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A file is damaged, so what it leads to is not known.
    #[error(transparent)]
    Damaged(#[from] Finding),
    /// What is written can be read, and this version does not understand it.
    #[error("entry {index} cannot be applied: {error}")]
    Apply {
        /// The entry; that of the snapshot if it is the snapshot which cannot be read.
        index: u64,
        /// What is wrong.
        error: Arc<ApplyError>,
    },
}

impl Inspector {
    /// Looks at `disk` with every key that may have been used there: during a rotation there are two.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, keys: Vec<LogKey>, env: Env) -> Self {
        Self { disk, keys, env }
    }

    /// Walks through the log, in the order in which it was written, and shows everything to `visit`. Keeps one segment
    /// in memory.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`] when the disk cannot be read. Damage is shown, and no error.
    pub async fn log(&self, mut visit: impl FnMut(Inspected) + Send) -> Result<(), LogError> {
        let names = self.disk.list().await.map_err(LogError::io("list", "the folder"))?;
        let segments: Vec<_> = names.iter().filter_map(|name| Some((segment_number(name)?, name))).collect();
        let mut walk = Walk::new(&self.keys, &self.env);
        for (at, (number, name)) in segments.iter().enumerate() {
            let file = self.disk.open(name).await.map_err(LogError::io("open", name))?;
            let content = disk::read_all(&*file).await.map_err(LogError::io("read", name))?;
            walk.segment(*number, &content, at + 1 == segments.len(), &mut visit);
        }
        walk.finish(&mut visit);
        Ok(())
    }

    /// Reads every snapshot to its end, oldest first. A member has one; an older one may be left if it was killed just
    /// after it wrote the newest.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`] when the disk cannot be read. Damage is in the reports.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotReport>, LogError> {
        let mut reports = Vec::new();
        for name in self.names(is_snapshot).await? {
            reports.push(self.snapshot(&name, &mut |_| ()).await?);
        }
        Ok(reports)
    }

    /// Files that were begun and never finished. The member removes them at its next start.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`] when the disk cannot be read.
    pub async fn leftovers(&self) -> Result<Vec<String>, LogError> {
        self.names(is_unfinished).await
    }

    /// Reads the newest snapshot, and gives its data to `piece`: joined, an encoded `StoreSnapshot`. `None` if there is
    /// no snapshot.
    ///
    /// # Errors
    ///
    /// The disk cannot be read, or the snapshot is damaged. What `piece` was given so far is right.
    pub async fn newest_snapshot(
        &self,
        mut piece: impl FnMut(Bytes) + Send,
    ) -> Result<Option<SnapshotReport>, InspectError> {
        let Some(name) = self.names(is_snapshot).await?.pop() else { return Ok(None) };
        let report = self.snapshot(&name, &mut piece).await?;
        report.damage.clone().map_or(Ok(Some(report)), |damage| Err(damage.into()))
    }

    /// Builds the store from the newest snapshot and, if `log` says so, every entry of the log after it.
    ///
    /// # Errors
    ///
    /// The disk cannot be read, or something that counts is damaged.
    pub async fn replay(&self, log: bool) -> Result<Replayed, InspectError> {
        let proposer = RaftProposer::new();
        let _store = Store::new(self.env.clone(), proposer.clone());
        let applier = proposer.applier().expect("invariant: a store attaches its proposer").clone();
        let mut restore = applier.restore();
        let mut failed = None;
        let snapshot = self
            .newest_snapshot(|piece| {
                if failed.is_none() {
                    failed = restore.chunk(&piece).err();
                }
            })
            .await?;
        let mut applied = snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
        let mut next = snapshot.as_ref().map(|snapshot| snapshot.index + 1);
        let cannot = |index| move |error| InspectError::Apply { index, error: Arc::new(error) };
        if let Some(snapshot) = &snapshot {
            failed.map_or(Ok(()), Err).map_err(cannot(snapshot.index))?;
            applier.install(restore).map_err(cannot(snapshot.index))?;
        }
        let mut members = snapshot.as_ref().map(|snapshot| snapshot.members.clone()).unwrap_or_default();
        let (mut committed, mut superseded) = (applied, 0);
        let standing = if log { self.standing().await? } else { Standing::default() };
        for (index, content) in standing.entries.range(next.unwrap_or(0)..) {
            if let Some(next) = next.filter(|next| next != index) {
                return Err(LogError::Missing { file: format!("entry {next} of the log") }.into());
            }
            next = Some(index + 1);
            match content {
                Content::Changes { payload, .. } => {
                    let outcome = applier.apply(payload).map_err(cannot(*index))?;
                    superseded += u64::from(outcome == Applied::Superseded);
                }
                Content::Membership { members: new, .. } => members.clone_from(new),
                _ => {}
            }
            applied = *index;
        }
        committed = committed.max(standing.committed).min(applied);
        Ok(Replayed { view: applier.view(), members, snapshot, applied, committed, superseded })
    }

    /// The entries that stand at the end of the log.
    async fn standing(&self) -> Result<Standing, InspectError> {
        let (mut standing, mut damage) = (Standing::default(), None);
        self.log(|inspected| match inspected {
            Inspected::Record(record) => standing.absorb(record.content),
            Inspected::Tail(_) => {}
            Inspected::Damage(finding) => drop(damage.get_or_insert(finding)),
        })
        .await?;
        damage.map_or(Ok(standing), |damage| Err(damage.into()))
    }

    /// Reads a snapshot with whichever key opens it.
    async fn snapshot(&self, name: &str, piece: &mut (dyn FnMut(Bytes) + Send)) -> Result<SnapshotReport, LogError> {
        let sealers: Vec<Sealer> = self.keys.iter().map(|key| Sealer::new(key, self.env.clone())).collect();
        let file = match SnapshotFile::open(self.disk.clone(), name.to_owned(), &sealers).await {
            Ok(file) => file,
            Err(error) => {
                return Ok(SnapshotReport {
                    damage: Some(finding(error)?),
                    ..report(name, &SnapshotMeta::default(), 0)
                });
            }
        };
        let mut report = report(name, &file.meta, file.size);
        if let Err(error) = read_out(file.reader(), piece).await {
            report.damage = Some(finding(error)?);
        }
        Ok(report)
    }

    async fn names(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, LogError> {
        let mut names = self.disk.list().await.map_err(LogError::io("list", "the folder"))?;
        names.retain(|name| wanted(name));
        Ok(names)
    }
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspector").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Finding {
    /// None of the keys opens a file.
    pub(crate) fn wrong_key(file: &str) -> Self {
        Self { file: file.to_owned(), offset: 0, bytes: 0, what: "none of the keys opens it".to_owned() }
    }
}

impl Content {
    /// Term and index, if it is an entry.
    #[must_use]
    pub fn entry(&self) -> Option<(u64, u64)> {
        match self {
            Self::Blank { term, index } | Self::Changes { term, index, .. } | Self::Membership { term, index, .. } => {
                Some((*term, *index))
            }
            Self::Start { .. }
            | Self::Vote { .. }
            | Self::Committed { .. }
            | Self::Truncated { .. }
            | Self::Purged { .. }
            | Self::Owner { .. }
            | Self::GivenUp { .. } => None,
        }
    }
}

/// What a log comes to.
#[derive(Default)]
struct Standing {
    entries: BTreeMap<u64, Content>,
    committed: u64,
}

impl Standing {
    fn absorb(&mut self, content: Content) {
        match content {
            Content::Truncated { after } => drop(self.entries.split_off(&after.map_or(0, |after| after + 1))),
            Content::Purged { index, .. } => self.entries = self.entries.split_off(&(index + 1)),
            Content::Committed { index, .. } => self.committed = index,
            content => {
                if let Some((_, index)) = content.entry() {
                    self.entries.insert(index, content);
                }
            }
        }
    }
}

/// What an entry says.
pub(crate) fn content_of(entry: Entry) -> Content {
    let (term, index) = (term_of(&entry.log_id), entry.log_id.index);
    match entry.payload {
        EntryPayload::Blank => Content::Blank { term, index },
        EntryPayload::Normal(command) => Content::Changes { term, index, payload: command.payload },
        EntryPayload::Membership(membership) => Content::Membership { term, index, members: members(&membership) },
    }
}

fn members(membership: &Membership) -> Vec<Member> {
    let voters: std::collections::BTreeSet<u64> = membership.voter_ids().collect();
    membership.nodes().map(|(&id, peer)| to_member(id, peer, voters.contains(&id))).collect()
}

fn report(name: &str, meta: &SnapshotMeta, bytes: u64) -> SnapshotReport {
    let (term, index) = meta.last_log_id.as_ref().map_or((0, 0), |id| (term_of(id), id.index));
    let members = members(meta.last_membership.membership());
    SnapshotReport { file: name.to_owned(), term, index, bytes, members, damage: None }
}

async fn read_out(mut reader: SnapshotReader, piece: &mut (dyn FnMut(Bytes) + Send)) -> Result<(), LogError> {
    while let Some(bytes) = reader.next().await? {
        piece(bytes);
    }
    Ok(())
}

/// Damage as a finding; what is no damage stays an error.
fn finding(error: LogError) -> Result<Finding, LogError> {
    match error {
        LogError::Damaged { file, offset, what } => Ok(Finding { file, offset, bytes: 0, what }),
        LogError::WrongKey { file } => Ok(Finding::wrong_key(&file)),
        error => Err(error),
    }
}
