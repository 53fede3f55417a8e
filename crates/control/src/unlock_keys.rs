//! The key that locks managers: made, replaced and removed as the settings of the cluster say.

use swarmkit_api::wire;
use swarmkit_ca::{MANAGER, UnlockKey};
use swarmkit_runtime::Env;

/// Brings the keys of a cluster in line with whether its managers are to be locked.
///
/// A key that is there stays until it is to be replaced, so that an unrelated change of the settings locks nobody out.
/// Keys of other subsystems are not touched. Of a cluster that is not locked there is nothing to replace.
pub(crate) fn follow(keys: &mut Vec<wire::EncryptionKey>, locked: bool, replace: bool, env: &Env) {
    let is_ours = |key: &wire::EncryptionKey| key.subsystem == MANAGER;
    if locked && !replace && keys.iter().any(is_ours) {
        return;
    }
    keys.retain(|key| !is_ours(key));
    if locked {
        let key = bytes::Bytes::copy_from_slice(UnlockKey::generate(env).as_bytes());
        keys.push(wire::EncryptionKey { subsystem: MANAGER.to_owned(), key, ..Default::default() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(subsystem: &str) -> wire::EncryptionKey {
        wire::EncryptionKey { subsystem: subsystem.to_owned(), key: b"old".as_slice().into(), ..Default::default() }
    }

    /// The subsystems that have a key afterwards, and whether the manager's is still the one that it was.
    fn after(keys: &[&str], locked: bool, replace: bool) -> (Vec<String>, bool) {
        let mut keys: Vec<_> = keys.iter().map(|subsystem| key(subsystem)).collect();
        follow(&mut keys, locked, replace, &swarmkit_testing::env());
        for key in keys.iter().filter(|key| key.subsystem != "swarm-manager") {
            assert_eq!(key.key, b"old".as_slice(), "it is not ours");
        }
        let kept = keys.iter().any(|key| key.subsystem == "swarm-manager" && key.key == b"old".as_slice());
        (keys.into_iter().map(|key| key.subsystem).collect(), kept)
    }

    #[test]
    fn a_key_is_made_kept_replaced_and_removed_and_no_other_subsystem_notices() {
        let told = |subsystems: &[&str], kept| (subsystems.iter().map(|name| (*name).to_owned()).collect(), kept);
        let (none, both) = (&["other"][..], &["other", "swarm-manager"][..]);
        assert_eq!(after(none, true, false), told(both, false), "made");
        assert_eq!(after(none, true, true), told(both, false), "made, and not twice");
        assert_eq!(after(both, true, false), told(both, true), "kept");
        assert_eq!(after(both, true, true), told(both, false), "replaced");
        assert_eq!(after(both, false, false), told(none, false), "removed");
        assert_eq!(after(both, false, true), told(none, false), "removed although it was to be replaced");
        assert_eq!(after(none, false, true), told(none, false), "nothing to replace");
    }
}
