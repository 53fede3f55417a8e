//! What an isolated task needs on the machine before it starts: directories of volumes, and files of its own.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use crate::{images::fill, isolation::Directory, plan::Identity};

/// Makes a directory that belongs to the task's user, unless it is there. One at a time.
pub(super) fn make(directory: &Directory, user: Option<&Identity>) -> io::Result<()> {
    if directory.path.exists() {
        return Ok(());
    }
    let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", directory.path.display()));
    directory.path.parent().map_or(Ok(()), fs::create_dir_all).map_err(told)?;
    // What is not whole has another name, which no volume can have.
    let name = directory.path.file_name().unwrap_or_default().to_string_lossy();
    let aside = directory.path.with_file_name(format!(".{name}"));
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(told)?;
    }
    fs::create_dir(&aside).map_err(told)?;
    if let Some(user) = user {
        std::os::unix::fs::chown(&aside, Some(user.uid), Some(user.gid)).map_err(told)?;
    }
    if let Some((root, path)) = &directory.like {
        fill::copy(&fill::Root::open(root)?, path, &aside).map_err(told)?;
    }
    fs::rename(&aside, &directory.path).map_err(told)
}

/// Writes a file that everybody in the task can read.
pub(super) fn write(file: &Path, text: &str) -> io::Result<()> {
    file.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o644).open(file)?;
    file.write_all(text.as_bytes())
}
