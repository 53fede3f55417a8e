//! What every isolated task has: processes of its own in `/proc`, and in an image also devices and what the kernel tells.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use rustix::mount::MountAttrFlags;

use super::{
    make_target,
    mounts::{Loose, seal},
};
use crate::isolation::{Isolation, Root};

/// The devices that every program may expect.
const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// What tells of the machine or changes it, and is nothing for a task with an image. As container engines have it.
const HIDDEN: [&str; 9] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Mounts that are ready, with their places.
pub(super) struct Base {
    mounts: Vec<(PathBuf, Loose)>,
    has_image: bool,
}

/// The processes of the task, in place of the machine's.
pub(super) fn processes() -> io::Result<()> {
    Loose::new("proc", closed() | MountAttrFlags::MOUNT_ATTR_NODEV, &[])?.put_down(Path::new("/proc"))
}

/// Nothing is run from here, and no rights gained.
fn closed() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

/// Makes the mounts while the machine's files can be seen.
pub(super) fn pick_up(isolation: &Isolation) -> Result<Base, String> {
    let has_image = isolation.root != Root::Machine;
    let mut mounts = Vec::new();
    let mut add = |at: &str, made: io::Result<Loose>| {
        mounts.push((PathBuf::from(at), made.map_err(|error| format!("making {at}: {error}"))?));
        Ok::<_, String>(())
    };
    let closed = closed();
    let no_devices = closed | MountAttrFlags::MOUNT_ATTR_NODEV;
    add("/proc", Loose::new("proc", no_devices, &[]))?;
    if has_image {
        add("/sys", Loose::copy(Path::new("/sys"), true))?;
        add("/dev", Loose::new("tmpfs", closed, &[("mode", "755".to_owned()), ("size", "64k".to_owned())]))?;
        let terminals = [("ptmxmode", "0666".to_owned()), ("mode", "0620".to_owned())];
        add("/dev/pts", Loose::new("devpts", closed, &terminals))?;
        let shared = [("mode", "1777".to_owned()), ("size", "64m".to_owned())];
        add("/dev/shm", Loose::new("tmpfs", no_devices, &shared))?;
        add("/dev/mqueue", Loose::new("mqueue", no_devices, &[]))?;
        for device in DEVICES {
            add(device, Loose::copy(Path::new(device), false))?;
        }
    }
    Ok(Base { mounts, has_image })
}

impl Base {
    pub(super) fn put_down(self) -> Result<(), String> {
        for (at, loose) in self.mounts {
            let placed = (|| {
                if self.has_image {
                    make_target(&at, loose.is_directory())?;
                }
                loose.put_down(&at)
            })();
            placed.map_err(|error: io::Error| format!("mounting {}: {error}", at.display()))?;
        }
        if self.has_image {
            links().map_err(|error| format!("filling /dev: {error}"))?;
        }
        Ok(())
    }
}

fn links() -> io::Result<()> {
    let links = [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
        ("pts/ptmx", "/dev/ptmx"),
    ];
    links.into_iter().try_for_each(|(to, at)| symlink(to, at))
}

/// Sets kernel settings, which are those of the task's namespaces.
pub(super) fn set(sysctls: &BTreeMap<String, String>) -> Result<(), String> {
    sysctls.iter().try_for_each(|(name, value)| {
        let file = Path::new("/proc/sys").join(name.replace('.', "/"));
        fs::write(file, value).map_err(|error| format!("sysctl {name}: {error}"))
    })
}

/// Hides or seals what is nothing for a task with an image, as far as this kernel has it.
pub(super) fn hide() -> io::Result<()> {
    for path in HIDDEN.map(Path::new) {
        match fs::metadata(path) {
            Err(_) => {}
            Ok(found) if found.is_dir() => {
                Loose::new("tmpfs", MountAttrFlags::MOUNT_ATTR_RDONLY, &[("size", "0".to_owned())])?.put_down(path)?;
            }
            Ok(_) => Loose::copy(Path::new("/dev/null"), false)?.put_down(path)?,
        }
    }
    for path in READ_ONLY.map(Path::new).into_iter().filter(|path| path.exists()) {
        Loose::copy(path, true)?.put_down(path)?;
        seal(path)?;
    }
    seal(Path::new("/sys"))
}
