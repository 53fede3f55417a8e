//! Putting together what a task sees of files.
//!
//! What is to be mounted is picked up while the machine's files can still be seen, and put down in the new root after
//! the old one is gone. So a link in an image leads nowhere but into the image.

use std::{
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::CWD,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
        UnmountFlags,
    },
};

use super::{base, make_target};
use crate::isolation::{Attach, Attached, Isolation, Root};

/// What is mounted nowhere yet.
pub(super) struct Loose {
    mount: OwnedFd,
    is_directory: bool,
}

/// Mounts everything.
pub(super) fn set_up(isolation: &Isolation) -> Result<(), String> {
    leave_machine()?;
    let attaches = isolation.attaches.iter().map(|attach| Ok((attach, pick_up(attach)?)));
    let attaches = attaches.collect::<Result<Vec<_>, String>>()?;
    let base = base::pick_up(isolation)?;
    match &isolation.root {
        Root::Machine => {
            base.put_down()?;
            base::set(&isolation.sysctls)?;
            if isolation.read_only {
                seal_machine()?;
            }
        }
        Root::Layers { lower, own } => {
            let root = layers(lower, own, isolation.map.is_some());
            let root = root.map_err(|error| format!("putting together the image {}: {error}", lower.display()))?;
            enter_root(&root, &own.join("root")).map_err(|error| format!("entering the image: {error}"))?;
            base.put_down()?;
            base::set(&isolation.sysctls)?;
        }
    }
    attaches.into_iter().try_for_each(|(attach, loose)| {
        let target = attach.target.display();
        if isolation.root != Root::Machine {
            make_target(&attach.target, loose.is_directory).map_err(|error| format!("mount {target}: {error}"))?;
        }
        loose.put_down(&attach.target).map_err(|error| match error.kind() {
            // In an image it was made above; the machine is not ours to make folders on.
            io::ErrorKind::NotFound => {
                format!("mount {target}: this machine has no such place; make it there, or run the task in an image")
            }
            _ => format!("mount {target}: {error}"),
        })?;
        if attach.read_only {
            seal(&attach.target).map_err(|error| format!("mount {target}: making it read-only: {error}"))?;
        }
        Ok(())
    })
}

/// From here on what is mounted is seen by this task alone, and it sees none of what the machine mounts.
pub(super) fn leave_machine() -> Result<(), String> {
    let all = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", all).map_err(|error| format!("leaving the machine's mounts: {error}"))
}

/// The last step, after which nothing is written outside of what the task may write to.
pub(super) fn close(isolation: &Isolation) -> Result<(), String> {
    if isolation.root == Root::Machine {
        return Ok(());
    }
    base::hide().map_err(|error| format!("hiding parts of /proc: {error}"))?;
    if isolation.read_only {
        seal_one(&mount_at(Path::new("/")).map_err(|error| error.to_string())?)
            .map_err(|error| format!("making the root read-only: {error}"))?;
    }
    Ok(())
}

fn pick_up(attach: &Attach) -> Result<Loose, String> {
    let told = |error: io::Error| format!("mount {}: {error}", attach.target.display());
    match &attach.what {
        Attached::Path { source, recursive } => Loose::copy(source, *recursive)
            .map_err(|error| format!("mount {}: {}: {error}", attach.target.display(), source.display())),
        Attached::Memory { size, mode, exec, devices, set_user_id } => {
            let mut flags = MountAttrFlags::empty();
            flags.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, !exec);
            flags.set(MountAttrFlags::MOUNT_ATTR_NODEV, !devices);
            flags.set(MountAttrFlags::MOUNT_ATTR_NOSUID, !set_user_id);
            let mut options = vec![("mode", format!("{mode:o}"))];
            if *size > 0 {
                options.push(("size", size.to_string()));
            }
            Loose::new("tmpfs", flags, &options).map_err(told)
        }
    }
}

// === impl Loose ===

impl Loose {
    /// A file system that is made.
    pub(super) fn new(kind: &str, flags: MountAttrFlags, options: &[(&str, String)]) -> io::Result<Self> {
        let made = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(made.as_fd(), "source", kind)?;
        for (key, value) in options {
            rustix::mount::fsconfig_set_string(made.as_fd(), *key, value.as_str())?;
        }
        rustix::mount::fsconfig_create(made.as_fd())?;
        let mount = rustix::mount::fsmount(made.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
        Ok(Self { mount, is_directory: true })
    }

    /// What is seen at a path.
    pub(super) fn copy(source: &Path, recursive: bool) -> io::Result<Self> {
        let is_directory = fs::metadata(source)?.is_dir();
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
        Ok(Self { mount: rustix::mount::open_tree(CWD, source, flags)?, is_directory })
    }

    pub(super) fn is_directory(&self) -> bool {
        self.is_directory
    }

    pub(super) fn put_down(self, target: &Path) -> io::Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
        Ok(rustix::mount::move_mount(self.mount.as_fd(), "", CWD, target, flags)?)
    }
}

// === Roots ===

/// An image below, and what the task writes above it.
fn layers(lower: &Path, own: &Path, is_mapped: bool) -> io::Result<Loose> {
    for dir in ["upper", "work", "root"] {
        fs::create_dir_all(own.join(dir))?;
    }
    // Colons part one directory from the next.
    let escaped = lower.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:");
    let text = |name: &str| own.join(name).to_string_lossy().into_owned();
    let mut options = vec![("lowerdir", escaped), ("upperdir", text("upper")), ("workdir", text("work"))];
    if is_mapped {
        return Loose::overlay(&options, true);
    }
    options.push(("index", "off".to_owned()));
    Loose::overlay(&options, false)
}

impl Loose {
    fn overlay(options: &[(&str, String)], user_attributes: bool) -> io::Result<Self> {
        let made = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in options {
            rustix::mount::fsconfig_set_string(made.as_fd(), *key, value.as_str())?;
        }
        if user_attributes {
            rustix::mount::fsconfig_set_flag(made.as_fd(), "userxattr")?;
        }
        rustix::mount::fsconfig_create(made.as_fd())?;
        let none = MountAttrFlags::empty();
        let mount = rustix::mount::fsmount(made.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, none)?;
        Ok(Self { mount, is_directory: true })
    }
}

/// Makes what is `loose` the root, and lets go of the old one.
fn enter_root(loose: &Loose, at: &Path) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(loose.mount.as_fd(), "", CWD, at, flags)?;
    rustix::process::chdir(at)?;
    // The old root is mounted over the new one, from where it is taken.
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

// === Read-only ===

/// One line of the list of mounts.
struct Mounted {
    at: PathBuf,
    flags: MountFlags,
}

/// Makes everything of the machine read-only, apart from what is no file system of files.
fn seal_machine() -> Result<(), String> {
    let kept = ["/proc", "/sys", "/dev"].map(Path::new);
    let mounted = mounted().map_err(|error| format!("listing the mounts: {error}"))?;
    let files = mounted.iter().filter(|mount| !kept.iter().any(|kept| mount.at.starts_with(kept)));
    for mount in files {
        seal_one(mount).map_err(|error| format!("making {} read-only: {error}", mount.at.display()))?;
    }
    Ok(())
}

/// Makes what is mounted at a path read-only, with everything below.
pub(super) fn seal(target: &Path) -> io::Result<()> {
    let target = fs::canonicalize(target)?;
    let mounted = mounted()?;
    mounted.iter().filter(|mount| mount.at.starts_with(&target)).try_for_each(seal_one)
}

/// What was mounted for the machine in a way that a plain user may not loosen has to stay as tight.
fn seal_one(mount: &Mounted) -> io::Result<()> {
    let flags = mount.flags | MountFlags::BIND | MountFlags::RDONLY;
    Ok(rustix::mount::mount_remount(&mount.at, flags, "")?)
}

fn mount_at(path: &Path) -> io::Result<Mounted> {
    // The last one covers those before it.
    mounted()?.into_iter().rfind(|mount| mount.at == path).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn mounted() -> io::Result<Vec<Mounted>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let mounts = text.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(4);
        Some(Mounted { at: unescaped(fields.next()?), flags: flags(fields.next()?) })
    });
    // Those that were left behind with the old root have no path here.
    Ok(mounts.filter(|mount| mount.at.is_absolute()).collect())
}

fn flags(options: &str) -> MountFlags {
    let known = [
        ("ro", MountFlags::RDONLY),
        ("nosuid", MountFlags::NOSUID),
        ("nodev", MountFlags::NODEV),
        ("noexec", MountFlags::NOEXEC),
        ("noatime", MountFlags::NOATIME),
        ("nodiratime", MountFlags::NODIRATIME),
        ("relatime", MountFlags::RELATIME),
        ("nosymfollow", MountFlags::NOSYMFOLLOW),
    ];
    let is_set = |name: &str| options.split(',').any(|option| option == name);
    known.into_iter().filter(|(name, _)| is_set(name)).fold(MountFlags::empty(), |flags, (_, flag)| flags | flag)
}

/// Spaces, tabs, line ends and backslashes are written as `\` and three octal digits.
fn unescaped(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match code.filter(|_| *first == b'\\') {
            Some(code) => (bytes.push(code), rest = &after[3..]).1,
            None => (bytes.push(*first), rest = after).1,
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_their_flags_and_odd_names() {
        assert_eq!(unescaped("/a\\040b\\134c"), Path::new("/a b\\c"));
        assert_eq!(unescaped("/plain\\"), Path::new("/plain\\"));
        assert_eq!(flags("ro,nosuid,relatime"), MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::RELATIME);
        assert_eq!(flags("rw"), MountFlags::empty());
        assert!(mounted().unwrap().iter().any(|mount| mount.at == Path::new("/proc")));
    }
}
