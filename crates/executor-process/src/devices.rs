//! Whether a task can use the devices that it was given.
//!
//! A process opens a device by its path, which its environment tells it. Nothing but the file's own permissions keeps it
//! from others, so what is checked is that these do not keep it from its own: a task that cannot use what it has
//! reserved had better not start.

use std::{fs, io, os::unix::fs::MetadataExt as _};

use rustix::fs::{Access, AtFlags, CWD};
use swarmkit_executor::{DeviceFile, ExecError};

use crate::plan::Identity;

/// Refuses a task whose devices it could not open. `None` for one that stays who the executor is.
pub(crate) fn check(files: &[DeviceFile], identity: Option<&Identity>) -> Result<(), ExecError> {
    for file in files {
        let may = match identity {
            None => accessible(file),
            Some(identity) => permitted(file, identity),
        };
        may.map_err(|error| {
            let (path, may) = (&file.path, file.permissions());
            ExecError::rejected(format!("device {path} cannot be used for {may:?} by the user of the task: {error}"))
        })?;
    }
    Ok(())
}

/// Whether this program itself could open it.
fn accessible(file: &DeviceFile) -> io::Result<()> {
    let mut access = Access::EXISTS;
    access.set(Access::READ_OK, file.read);
    access.set(Access::WRITE_OK, file.write);
    Ok(rustix::fs::accessat(CWD, &file.path, access, AtFlags::EACCESS)?)
}

/// Whether another user could open it, by its owner, its group and its mode. A file that lists more users than these
/// is for the kernel to judge, when the task opens it.
fn permitted(file: &DeviceFile, identity: &Identity) -> io::Result<()> {
    let found = fs::metadata(&file.path)?;
    let lists_more =
        rustix::fs::getxattr(&file.path, c"system.posix_acl_access", &mut [0_u8; 0][..]).is_ok_and(|size| size > 0);
    if identity.uid == 0 || lists_more {
        return Ok(());
    }
    let shift = if found.uid() == identity.uid {
        6
    } else if found.gid() == identity.gid || identity.groups.contains(&found.gid()) {
        3
    } else {
        0
    };
    let wanted = u32::from(file.read) << 2 | u32::from(file.write) << 1;
    if found.mode() >> shift & wanted == wanted { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(file: &str, identity: Option<&Identity>) -> String {
        let file: DeviceFile = file.parse().unwrap();
        check(&[file], identity).map_or_else(|error| error.to_string(), |()| "ok".to_owned())
    }

    #[test]
    fn a_device_must_be_open_to_the_user_of_the_task() {
        let nobody = Identity { uid: 65_534, gid: 65_534, groups: Vec::new() };
        for identity in [None, Some(&nobody)] {
            assert_eq!(told("/dev/null:rw", identity), "ok");
        }
        // Every process may read its own memory's map, and nobody may read that of the kernel but root.
        let refusal = "device /dev/mem cannot be used for \"r\" by the user of the task: ";
        if fs::metadata("/dev/mem").is_ok() {
            assert!(told("/dev/mem:r", Some(&nobody)).starts_with(refusal));
        }
        assert!(told("/dev/nonexistent:r", None).contains("No such file"));
    }

    #[test]
    fn owner_group_and_others_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("device");
        fs::write(&path, "").unwrap();
        let set = |mode| fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let (uid, gid) = (fs::metadata(&path).unwrap().uid(), fs::metadata(&path).unwrap().gid());
        let owner = Identity { uid: uid.max(1), gid: 65_534, groups: Vec::new() };
        let member = Identity { uid: 65_533, gid: 65_534, groups: vec![gid] };
        let stranger = Identity { uid: 65_533, gid: 65_534, groups: Vec::new() };
        let may = |identity: &Identity, what: &str| told(&format!("{}:{what}", path.display()), Some(identity)) == "ok";
        set(0o640);
        assert!(may(&member, "r") && !may(&member, "w") && !may(&stranger, "r"));
        assert_eq!(may(&owner, "rw"), uid != 0, "root's file is not of user 1");
        set(0o606);
        assert!(may(&stranger, "rw") && !may(&member, "r"), "the group is looked at before the others");
        assert!(may(&Identity { uid: 0, gid: 0, groups: Vec::new() }, "rw"));
    }
}
