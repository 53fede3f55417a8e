//! The node's certificates and keys on disk.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use humantime::format_rfc3339_seconds as rfc3339;
use swarmkit_api::NodeRole;
use swarmkit_ca::{Error, Expiry, Identity, KeyStore, NodeCertificate, RootCa, UnlockKey, role_name};
use swarmkit_runtime::Env;

use super::finding::Finding;

const CHECK: &str = "certificates";
/// A node renews its certificate when between 50 and 80 hundredths of its time are over, so one that is older waits in vain.
const RENEWED_BY: u32 = 80;

/// What is on the disk.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) state_dir: PathBuf,
    pub(super) root: Result<RootCa, Error>,
    pub(super) node: Result<NodeCertificate, Error>,
    /// Whom the certificate names, whether its key can be read or not.
    pub(super) named: Option<Identity>,
    /// The mode of the key file, if it is there.
    pub(super) key_mode: Option<u32>,
    pub(super) key_given: bool,
    pub(super) has_log: bool,
    pub(super) runs: bool,
    pub(super) now: SystemTime,
}

/// Reads the files, and changes nothing.
pub(super) fn look(state_dir: &Path, unlock: Option<UnlockKey>, runs: bool, env: &Env) -> Facts {
    let key_given = unlock.is_some();
    let keys = KeyStore::new(state_dir, env).with_unlock_key(unlock).looking_only();
    let key = fs::metadata(state_dir.join("certificates/swarm-node.key"));
    Facts {
        state_dir: state_dir.to_owned(),
        root: keys.load_root(),
        node: keys.load_node(),
        named: keys.named().ok(),
        key_mode: key.ok().map(|key| key.permissions().mode() & 0o777),
        key_given,
        has_log: fs::read_dir(state_dir.join("raft")).is_ok_and(|mut files| files.next().is_some()),
        runs,
        now: env.now(),
    }
}

/// What is to be said.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![certificate(facts)];
    if let Err(error) = &facts.root
        && !matches!(error, Error::NoLocalRoot)
    {
        findings.push(
            Finding::problem(CHECK, format!("the cluster's root certificate cannot be used: {error}"))
                .mend("copy certificates/swarm-root-ca.crt from another node of the cluster"),
        );
    }
    if let Some(mode) = facts.key_mode.filter(|mode| mode & 0o077 != 0) {
        let file = facts.state_dir.join("certificates/swarm-node.key");
        let text = format!("other users of this machine may read the private key (mode {mode:03o})");
        findings.push(Finding::problem(CHECK, text).mend(format!("chmod 600 {}", file.display())));
    }
    findings
}

fn certificate(facts: &Facts) -> Finding {
    const AGAIN: &str = "join again with an empty state directory: swarmd --join-addr HOST:PORT --join-token TOKEN";
    let node = match &facts.node {
        Ok(node) => node,
        Err(Error::NoLocalCertificate { .. }) if facts.has_log => {
            return Finding::problem(CHECK, "there is the log of a manager, and no certificate of a node")
                .mend("restore the certificates folder, or start over with an empty directory");
        }
        Err(Error::NoLocalCertificate { .. }) if facts.root.is_ok() => {
            return Finding::warning(CHECK, "the root of a cluster is known, and this node has no certificate of it")
                .mend("join: swarmd --join-addr HOST:PORT --join-token TOKEN");
        }
        Err(Error::NoLocalCertificate { .. }) => {
            return Finding::skipped(
                CHECK,
                "this node has no identity yet: it joins or founds a cluster when it starts",
            );
        }
        Err(Error::Locked) if facts.key_given => {
            return Finding::problem(
                CHECK,
                "the private key is locked, and the unlock key that was given is another one",
            )
            .mend("get the present one on another manager: swarmctl cluster unlock-key");
        }
        Err(Error::Locked) => {
            return Finding::warning(CHECK, "the private key is locked, so the certificate could not be looked at")
                .mend("give the key: swarmd doctor --unlock-key-file FILE");
        }
        Err(error) => {
            let text = format!("certificate and private key cannot be used: {error}");
            return Finding::problem(CHECK, text).mend(AGAIN);
        }
    };
    let own = node.identity();
    let who = format!("node {}, {} of cluster {}", own.node, role_name(own.role), own.cluster);
    let Ok(root) = &facts.root else {
        return Finding::warning(CHECK, format!("{who}: the cluster's root certificate is missing"))
            .mend("start the node once with --join-addr HOST:PORT, which gets it again");
    };
    let (from, until) = (node.validity().not_before, node.validity().not_after);
    match node.verify(root, Expiry::Enforced, facts.now) {
        Ok(_) => {}
        Err(Error::Expired { .. }) => {
            let text =
                format!("{who}: the certificate expired at {}, and it is {}", rfc3339(until), rfc3339(facts.now));
            let mend = match own.role {
                NodeRole::Manager => format!(
                    "check the clock; then, with the node stopped: swarm-rafttool --state-dir {} renew-certs",
                    facts.state_dir.display()
                ),
                NodeRole::Worker => {
                    "check the clock; then start it with --join-addr HOST:PORT --join-token TOKEN".to_owned()
                }
            };
            return Finding::problem(CHECK, text).mend(mend);
        }
        Err(Error::NotYetValid { .. }) => {
            let text =
                format!("{who}: the certificate is valid from {}, and it is {}", rfc3339(from), rfc3339(facts.now));
            return Finding::problem(CHECK, text).mend("set this machine's clock, for example with NTP");
        }
        Err(error) => return Finding::problem(CHECK, format!("{who}: {error}")).mend(AGAIN),
    }
    let span = until.duration_since(from).unwrap_or_default();
    if facts.runs && facts.now > from + span * RENEWED_BY / 100 {
        let text = format!("{who}: the certificate should have been renewed, and expires at {}", rfc3339(until));
        return Finding::warning(CHECK, text).mend("look for \"cannot renew the certificate\" in the log of swarmd");
    }
    Finding::ok(CHECK, format!("{who}, valid until {}", rfc3339(until)))
}
