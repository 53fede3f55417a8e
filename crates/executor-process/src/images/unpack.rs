//! Layers of an image, put over one another.
//!
//! A layer is an archive of what it adds and changes, and of marks for what it takes away. Nothing in it can write outside
//! of the new root: every path is looked up within it, and what is already at a path is removed, not followed.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read},
    os::{
        fd::AsFd as _,
        unix::{ffi::OsStrExt, fs::PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RawMode, XattrFlags},
    io::Errno,
};
use tar::{Archive, Entry, EntryType};

use super::{
    fill::{self, Root},
    layout::{Descriptor, Layout, LayoutError, Manifest},
};

/// The beginning of the name of a mark: what follows is the name of what is taken away.
const MARK: &[u8] = b".wh.";
/// The name of the mark that takes away everything that was in its directory.
const ALL: &[u8] = b".wh..wh..opq";

/// How much one image may hold. Whoever makes an image may make it of nothing but zeros.
const BYTES_MAX: u64 = 64 << 30;
const ENTRIES_MAX: u64 = 4_000_000;

/// Unpacks an image into a new directory.
pub(super) fn unpack(layout: &Layout, manifest: &Manifest, into: &Path) -> Result<(), LayoutError> {
    fs::create_dir(into)?;
    fs::set_permissions(into, fs::Permissions::from_mode(0o755))?;
    let root = Root::open(into)?;
    let mut left = Left { bytes: BYTES_MAX, entries: ENTRIES_MAX };
    for layer in &manifest.layers {
        let told = |error: LayoutError| match error {
            LayoutError::Unsound(reason) => LayoutError::Unsound(format!("layer {}: {reason}", layer.digest)),
            LayoutError::Io(error) => LayoutError::Io(error),
        };
        // What is taken away is so from the layers below, wherever in the archive the mark is.
        each(layer, layout.blob(layer)?, &mut |entry, path| take_away(&root, entry, path)).map_err(told)?;
        let mut directories = Vec::new();
        each(layer, layout.blob(layer)?, &mut |entry, path| {
            left.count(entry)?;
            add(&root, entry, path, &mut directories)
        })
        .map_err(told)?;
        // Those below first: afterwards nothing may have to be written to them any more.
        for Directory { path, uid, gid, mode } in directories.into_iter().rev() {
            let place = root.find(&path).map_err(io::Error::from)?;
            let directory = rustix::fs::openat(&place, ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
            fill::give(directory.map_err(io::Error::from)?.as_fd(), uid, gid, mode)?;
        }
    }
    Ok(())
}

/// What may still come.
struct Left {
    bytes: u64,
    entries: u64,
}

impl Left {
    fn count<R: Read>(&mut self, entry: &Entry<'_, R>) -> Result<(), LayoutError> {
        let left = self.bytes.checked_sub(entry.size()).zip(self.entries.checked_sub(1));
        let (bytes, entries) = left.ok_or_else(|| LayoutError::Unsound("it holds too much".to_owned()))?;
        (self.bytes, self.entries) = (bytes, entries);
        Ok(())
    }
}

/// A directory, whose mode is set when everything is in it.
struct Directory {
    path: PathBuf,
    uid: u32,
    gid: u32,
    mode: RawMode,
}

type Visit<'a> = dyn FnMut(&mut Entry<'_, Box<dyn Read>>, &Path) -> Result<(), LayoutError> + 'a;

/// Goes through the entries of a layer, with their paths below the root.
fn each(layer: &Descriptor, blob: File, visit: &mut Visit<'_>) -> Result<(), LayoutError> {
    let blob = BufReader::new(blob);
    let bytes: Box<dyn Read> = match layer.media_type.rsplit(['+', '.']).next() {
        Some("tar") => Box::new(blob),
        Some("gzip") => Box::new(flate2::bufread::MultiGzDecoder::new(blob)),
        _ => return Err(LayoutError::Unsound(format!("it is of the unknown kind {:?}", layer.media_type))),
    };
    for entry in Archive::new(bytes).entries()? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        let below = fill::below(&path)
            .ok_or_else(|| LayoutError::Unsound(format!("its entry {} leads elsewhere", path.display())))?;
        let told = |error: LayoutError| match error {
            LayoutError::Io(error) => {
                LayoutError::Io(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
            }
            unsound => unsound,
        };
        visit(&mut entry, &below).map_err(told)?;
    }
    Ok(())
}

/// The blob is what its digest says, so what cannot be read of it never can.
fn broken(error: io::Error) -> LayoutError {
    LayoutError::Unsound(error.to_string())
}

fn name_of(path: &Path) -> &[u8] {
    path.file_name().map(OsStrExt::as_bytes).unwrap_or_default()
}

fn take_away<R: Read>(root: &Root, _: &mut Entry<'_, R>, path: &Path) -> Result<(), LayoutError> {
    let Some(name) = name_of(path).strip_prefix(MARK) else { return Ok(()) };
    if matches!(name, b"" | b"." | b"..") {
        return Err(LayoutError::Unsound(format!("its entry {} leads elsewhere", path.display())));
    }
    let parent = match root.find(path.parent().unwrap_or(Path::new(""))) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        found => found.map_err(io::Error::from)?,
    };
    if name_of(path) == ALL {
        return Ok(fill::clear(parent.as_fd())?);
    }
    Ok(fill::remove(parent.as_fd(), Path::new(std::ffi::OsStr::from_bytes(name)))?)
}

fn add<R: Read>(
    root: &Root,
    entry: &mut Entry<'_, R>,
    path: &Path,
    directories: &mut Vec<Directory>,
) -> Result<(), LayoutError> {
    if name_of(path).starts_with(MARK) {
        return Ok(());
    }
    let header = entry.header();
    let number = |number: io::Result<u64>| {
        let number = u32::try_from(number.map_err(broken)?).ok();
        number.ok_or_else(|| LayoutError::Unsound(format!("its entry {} is of a user without number", path.display())))
    };
    let (uid, gid, mode) = (number(header.uid())?, number(header.gid())?, header.mode().map_err(broken)?);
    let kind = header.entry_type();
    if kind.is_dir() {
        directories.push(Directory { path: path.to_owned(), uid, gid, mode });
    }
    let Some(name) = path.file_name().map(Path::new) else { return Ok(()) };
    let parent = root.directory(path.parent().unwrap_or(Path::new("")))?;
    let parent = parent.as_fd();
    let found = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
    let is_directory = found.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
    if !(kind.is_dir() && is_directory) {
        fill::remove(parent, name)?;
    }
    match kind {
        EntryType::Directory if is_directory => {}
        EntryType::Directory => rustix::fs::mkdirat(parent, name, Mode::RWXU).map_err(io::Error::from)?,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let mut file = fill::create(parent, name)?;
            io::copy(entry, &mut file)?;
            fill::give(file.as_fd(), uid, gid, mode)?;
            attributes(&file, entry)?;
        }
        EntryType::Symlink => {
            let target =
                entry.link_name().map_err(broken)?.ok_or_else(|| LayoutError::Unsound("a link to nothing".into()))?;
            rustix::fs::symlinkat(&*target, parent, name).map_err(io::Error::from)?;
            fill::own(parent, name, uid, gid)?;
        }
        EntryType::Link => {
            let target = entry.link_name().map_err(broken)?.and_then(|target| fill::below(&target));
            let target = target.filter(|target| target.file_name().is_some());
            let target = target.ok_or_else(|| {
                LayoutError::Unsound(format!("its entry {} is linked with what is elsewhere", path.display()))
            })?;
            let from = root.find(target.parent().unwrap_or(Path::new(""))).map_err(io::Error::from)?;
            let from_name = target.file_name().unwrap_or_default();
            rustix::fs::linkat(&from, from_name, parent, name, AtFlags::empty()).map_err(io::Error::from)?;
        }
        EntryType::Fifo => {
            let mode = Mode::from_raw_mode(mode & 0o777);
            rustix::fs::mknodat(parent, name, FileType::Fifo, mode, 0).map_err(io::Error::from)?;
            fill::own(parent, name, uid, gid)?;
        }
        // Tasks have devices from their node, not from their image.
        EntryType::Char | EntryType::Block => {}
        other => return Err(LayoutError::Unsound(format!("its entry {} is of the kind {other:?}", path.display()))),
    }
    Ok(())
}

/// What a file may do beyond its mode, such as the capabilities of a program. Only root can give that.
fn attributes<R: Read>(file: &File, entry: &mut Entry<'_, R>) -> Result<(), LayoutError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    for extension in entry.pax_extensions().map_err(broken)?.into_iter().flatten() {
        let extension = extension.map_err(broken)?;
        let name = extension.key_bytes().strip_prefix(b"SCHILY.xattr.");
        if let Some(name) = name.filter(|name| *name == b"security.capability" || name.starts_with(b"user.")) {
            rustix::fs::fsetxattr(file, name, extension.value_bytes(), XattrFlags::empty()).map_err(io::Error::from)?;
        }
    }
    Ok(())
}
