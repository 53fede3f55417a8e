//! The managers that this node has heard of, remembered across restarts in `state.json`.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use swarmkit_api::NodeId;
use swarmkit_rpc::{Remote, Remotes};
use tokio_util::sync::CancellationToken;

use crate::{NodeError, state_dir::blocking};

const FILE: &str = "state.json";
const NEXT: &str = ".tmp-state.json";

/// One manager, as upstream writes it.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    node_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    addr: String,
}

/// Reads the managers that the node with this state directory has heard of. Where there is no file, there are none. Blocks on
/// the disk.
///
/// # Errors
///
/// The file cannot be read, or is none of ours.
pub fn known_managers(state_dir: &Path) -> Result<Vec<Remote>, NodeError> {
    load(state_dir)
}

pub(crate) fn load(state_dir: &Path) -> Result<Vec<Remote>, NodeError> {
    let path = state_dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(NodeError::StateDir { action: "read", path, source }),
    };
    let entries: Vec<Entry> =
        serde_json::from_str(&text).map_err(|error| NodeError::Damaged { path, reason: error.to_string() })?;
    Ok(entries
        .into_iter()
        .filter(|entry| !entry.addr.is_empty())
        .map(|entry| Remote { node: NodeId::from_wire(entry.node_id), address: entry.addr })
        .collect())
}

fn save(state_dir: &Path, managers: &[Remote]) -> Result<(), NodeError> {
    let mut entries: Vec<Entry> = managers
        .iter()
        .map(|remote| Entry { node_id: NodeId::to_wire(remote.node.as_ref()), addr: remote.address.clone() })
        .collect();
    entries.sort_by(|a, b| (&a.node_id, &a.addr).cmp(&(&b.node_id, &b.addr)));
    let (path, next) = (state_dir.join(FILE), state_dir.join(NEXT));
    let replace = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(serde_json::to_string(&entries)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(&next, &path)
    };
    replace().map_err(|source| NodeError::StateDir { action: "write", path, source })
}

/// Writes the managers down whenever they change. A failure is told and does no harm: the file is a hint.
pub(crate) async fn remember(state_dir: PathBuf, remotes: Remotes, stop: CancellationToken) -> Result<(), NodeError> {
    let mut changes = remotes.subscribe();
    loop {
        let managers = changes.borrow_and_update().clone();
        let path = state_dir.clone();
        if let Err(error) = blocking(move || save(&path, &managers)).await {
            tracing::warn!(%error, "the managers are not remembered");
        }
        tokio::select! { biased; // stopping comes first
            () = stop.cancelled() => return Ok(()),
            changed = changes.changed() => if changed.is_err() {
                return Ok(());
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn managers_survive_a_restart_in_the_form_that_upstream_reads() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).unwrap().is_empty());
        let managers = [
            Remote { node: Some("b".into()), address: "127.0.0.1:2".into() },
            Remote { node: None, address: "127.0.0.1:1".into() },
        ];
        save(dir.path(), &managers).unwrap();
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "for its owner only");
        assert_eq!(text, r#"[{"addr":"127.0.0.1:1"},{"node_id":"b","addr":"127.0.0.1:2"}]"#);
        assert_eq!(load(dir.path()).unwrap().len(), 2);
    }

    #[test]
    fn a_damaged_file_is_told_by_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{").unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("state.json is damaged"), "{error}");
    }
}
