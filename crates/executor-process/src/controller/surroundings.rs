//! What an isolated task needs on the machine before it starts: directories of volumes, and files of its own.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use crate::{isolation::Directory, plan::Identity};

/// Makes a directory that belongs to the task's user, unless it is there.
pub(super) fn make(directory: &Directory, user: Option<&Identity>) -> io::Result<()> {
    if directory.path.exists() {
        return Ok(());
    }
    let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", directory.path.display()));
    directory.path.parent().map_or(Ok(()), fs::create_dir_all).map_err(told)?;
    fs::create_dir(&directory.path).map_err(told)?;
    if let Some(user) = user {
        std::os::unix::fs::chown(&directory.path, Some(user.uid), Some(user.gid)).map_err(told)?;
    }
    Ok(())
}

/// Writes a file that everybody in the task can read.
pub(super) fn write(file: &Path, text: &str) -> io::Result<()> {
    file.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o644).open(file)?;
    file.write_all(text.as_bytes())
}
