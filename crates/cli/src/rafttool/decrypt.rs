//! `decrypt`: the log and the newest snapshot as files that anything which knows protobuf can read.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use prost::Message as _;
use swarmkit_api::wire::swarmkit::raft::v1 as wire;
use swarmkit_raft::{Content, Inspected, LogRecord, Member};

use super::{Context, RafttoolError};

/// The folder with the newest snapshot: one encoded `docker.swarmkit.v1.StoreSnapshot`.
const SNAPSHOT: &str = "snap-decrypted";
/// The folder with the log: for each segment its entries as `swarmkit.raft.v1.Entry`, each after its length as a
/// variable-length number.
const LOG: &str = "wal-decrypted";

/// Only the owner may look at what was made readable.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The log becomes wal-decrypted/SEGMENT.pb, each a row of `swarmkit.raft.v1.Entry` messages with their length before
/// them; the newest snapshot becomes snap-decrypted/SNAPSHOT.pb, one `docker.swarmkit.v1.StoreSnapshot`.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// Directory to write to; what an earlier run left there is moved aside
    #[arg(short, long, value_name = "PATH", default_value = "plaintext_raft")]
    output_dir: PathBuf,
}

/// Writes both folders, or neither: they get their names when they are complete.
pub(super) async fn run(context: &mut Context<'_>, flags: Flags) -> Result<(), RafttoolError> {
    let (segments, damage) = entries(context).await?;
    if let Some(finding) = damage {
        return Err(swarmkit_raft::InspectError::from(finding).into());
    }
    let mut data = Vec::new();
    let snapshot = context.inspector.newest_snapshot(|piece| data.extend_from_slice(&piece)).await?;

    let out = flags.output_dir;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RafttoolError::Write { path, source }
    };
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&out).map_err(failed(&out))?;
    let unfinished = tempfile::Builder::new().prefix(".decrypting-").tempdir_in(&out).map_err(failed(&out))?;
    let folder = |name: &str| -> Result<PathBuf, RafttoolError> {
        let path = unfinished.path().join(name);
        DirBuilder::new().mode(FOLDER_MODE).create(&path).map_err(failed(&path))?;
        Ok(path)
    };
    let (logs, snapshots) = (folder(LOG)?, folder(SNAPSHOT)?);
    for (name, bytes) in &segments {
        let path = logs.join(format!("{name}.pb"));
        write(&path, bytes).map_err(failed(&path))?;
    }
    if let Some(snapshot) = &snapshot {
        let path = snapshots.join(format!("{}.pb", snapshot.file));
        write(&path, &data).map_err(failed(&path))?;
    }
    for name in [LOG, SNAPSHOT] {
        let path = out.join(name);
        move_aside(&path).map_err(failed(&path))?;
        std::fs::rename(unfinished.path().join(name), &path).map_err(failed(&path))?;
    }
    let json = serde_json::json!({ "output_dir": out, "segments": segments.len(), "snapshot": snapshot.is_some() });
    context.show(&json, || format!("{} and {} are in {}\n", LOG, SNAPSHOT, out.display()))
}

type Segments = Vec<(String, Vec<u8>)>;

/// The entries of every segment, and the first thing that is wrong.
async fn entries(context: &Context<'_>) -> Result<(Segments, Option<swarmkit_raft::Finding>), RafttoolError> {
    let (mut segments, mut damage): (Segments, _) = (Vec::new(), None);
    let visit = |inspected| match inspected {
        Inspected::Record(record) => {
            if segments.last().is_none_or(|(name, _)| *name != record.file) {
                segments.push((record.file.clone(), Vec::new()));
            }
            if let (Some(entry), Some((_, bytes))) = (to_wire(&record), segments.last_mut()) {
                bytes.extend_from_slice(&entry.encode_length_delimited_to_vec());
            }
        }
        Inspected::Damage(finding) => drop(damage.get_or_insert(finding)),
        _ => {}
    };
    context.inspector.log(visit).await?;
    Ok((segments, damage))
}

fn to_wire(record: &LogRecord) -> Option<wire::Entry> {
    use wire::payload::Content as Wire;

    let (term, index) = record.content.entry()?;
    let content = match &record.content {
        Content::Changes { payload, .. } => Wire::Command(wire::Command { payload: payload.clone() }),
        Content::Membership { members, .. } => Wire::Membership(membership(members)),
        _ => Wire::Blank(wire::Blank {}),
    };
    Some(wire::Entry { id: Some(wire::LogId { term, index }), payload: Some(wire::Payload { content: Some(content) }) })
}

fn membership(members: &[Member]) -> wire::Membership {
    let voters = members.iter().filter(|member| member.voter).map(|member| member.raft_id).collect();
    let member = |member: &Member| {
        (member.raft_id, wire::Member { node_id: member.node_id.to_string(), addr: member.addr.clone() })
    };
    wire::Membership {
        voters: vec![wire::VoterSet { raft_ids: voters }],
        members: members.iter().map(member).collect(),
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Gives what stands at `path` another name that nothing has.
fn move_aside(path: &Path) -> io::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut free = (1u32..).map(|number| path.with_file_name(format!("{name}.{number}")));
    let aside = free.find(|path| !path.exists()).ok_or(io::ErrorKind::AlreadyExists)?;
    std::fs::rename(path, aside)
}
