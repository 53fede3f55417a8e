//! What locks the managers of a cluster, and what a manager does about a new lock.

use std::fmt;

use swarmkit_api::{Cluster, Version};

use crate::{error::Error, identity::MANAGER, unlock::UnlockKey};

/// The unlock key of a cluster's managers as of one version of the cluster, or that there is none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ManagerLock {
    /// The version of the cluster object that said so. Zero where no cluster has said anything yet.
    pub version: Version,
    /// What the key files of managers are encrypted with. `None` leaves them in clear.
    pub key: Option<UnlockKey>,
}

/// What a new lock asks of a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockChange {
    /// Nothing: it is old news, or says what held before.
    None,
    /// To be encrypted, and to get other keys: the present ones have been on the disk in clear.
    Lock,
    /// To be encrypted with another unlock key.
    Relock,
    /// To be written in clear.
    Unlock,
}

impl ManagerLock {
    /// What a cluster asks of its managers.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUnlockKey`] when the key in it is none.
    pub fn of(cluster: &Cluster) -> Result<Self, Error> {
        let locks = cluster.spec.encryption_config.is_some_and(|config| config.auto_lock_managers);
        let key = cluster.unlock_keys.iter().find(|key| locks && key.subsystem == MANAGER);
        let key = key.map(|key| UnlockKey::from_bytes(&key.key)).transpose()?;
        Ok(Self { version: cluster.meta.version, key })
    }

    /// What is to be done where this lock held and `candidate` is heard of.
    ///
    /// # Errors
    ///
    /// [`Error::LockConflict`] when both claim the same version and differ.
    pub fn change_to(&self, candidate: &Self) -> Result<LockChange, Error> {
        if self.version == candidate.version && self.key != candidate.key {
            return Err(Error::LockConflict { version: self.version });
        }
        if candidate.version <= self.version || self.key == candidate.key {
            return Ok(LockChange::None);
        }
        Ok(match (&self.key, &candidate.key) {
            (None, _) => LockChange::Lock,
            (Some(_), Some(_)) => LockChange::Relock,
            (Some(_), None) => LockChange::Unlock,
        })
    }
}

impl fmt::Debug for ManagerLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut form = f.debug_struct("ManagerLock");
        form.field("version", &self.version.0).field("locked", &self.key.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use swarmkit_api::wire;

    use super::*;

    fn key(byte: u8) -> UnlockKey {
        UnlockKey::from_bytes(&[byte; 32]).unwrap()
    }

    fn lock(version: u64, byte: u8) -> ManagerLock {
        ManagerLock { version: Version(version), key: (byte > 0).then(|| key(byte)) }
    }

    #[test]
    fn a_new_lock_is_applied_when_it_is_newer_and_another_one() {
        use LockChange::{Lock, None, Relock, Unlock};
        for (held, candidate, change) in [
            (lock(1, 0), lock(2, 7), Lock),
            (lock(1, 7), lock(2, 8), Relock),
            (lock(1, 7), lock(2, 0), Unlock),
            // Newer, and says the same.
            (lock(1, 0), lock(2, 0), None),
            (lock(1, 7), lock(2, 7), None),
            // The same news again.
            (lock(1, 0), lock(1, 0), None),
            (lock(1, 7), lock(1, 7), None),
            // Old news, whatever it says.
            (lock(2, 7), lock(1, 8), None),
            (lock(2, 7), lock(1, 0), None),
            (lock(2, 0), lock(1, 7), None),
        ] {
            assert_eq!(held.change_to(&candidate).unwrap(), change, "{held:?} to {candidate:?}");
        }
    }

    #[test]
    fn one_version_with_two_keys_is_an_error() {
        for (held, candidate) in
            [(lock(3, 7), lock(3, 8)), (lock(3, 0), lock(3, 8)), (lock(3, 7), lock(3, 0)), (lock(0, 0), lock(0, 8))]
        {
            let error = held.change_to(&candidate).unwrap_err();
            assert!(matches!(error, Error::LockConflict { version } if version == held.version), "{error}");
        }
    }

    #[test]
    fn a_cluster_locks_its_managers_when_its_settings_say_so_and_with_the_key_for_managers() {
        let mut cluster = Cluster::new("c".into());
        cluster.meta.version = Version(9);
        let with = |subsystem: &str, byte: u8| wire::EncryptionKey {
            subsystem: subsystem.to_owned(),
            key: vec![byte; 32].into(),
            ..Default::default()
        };
        cluster.unlock_keys = vec![with("other", 6), with("swarm-manager", 7)];
        assert_eq!(ManagerLock::of(&cluster).unwrap(), lock(9, 0));
        let locks = wire::EncryptionConfig { auto_lock_managers: true };
        cluster.spec = Arc::new(wire::ClusterSpec { encryption_config: Some(locks), ..Default::default() });
        assert_eq!(ManagerLock::of(&cluster).unwrap(), lock(9, 7));
        cluster.unlock_keys.truncate(1);
        assert_eq!(ManagerLock::of(&cluster).unwrap(), lock(9, 0));
        cluster.unlock_keys = vec![wire::EncryptionKey { subsystem: "swarm-manager".to_owned(), ..Default::default() }];
        assert!(matches!(ManagerLock::of(&cluster), Err(Error::InvalidUnlockKey)));
    }

    #[test]
    fn a_lock_does_not_show_its_key() {
        assert_eq!(format!("{:?}", lock(3, 7)), "ManagerLock { version: 3, locked: true }");
    }
}
