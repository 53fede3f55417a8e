//! Key files, of backups and of locked nodes: one line, in the form in which people see unlock keys.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use swarmkit_ca::UnlockKey;
use swarmkit_raft::LogKey;
use swarmkit_runtime::{Env, Spawner};
use zeroize::Zeroizing;

/// Only its owner may read a key.
const KEY_MODE: u32 = 0o600;

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the key file {}: {error}", file.display())]
pub struct KeyFileError {
    file: PathBuf,
    error: io::Error,
}

/// Reads the key that a backup was sealed with.
///
/// # Errors
///
/// The file cannot be read, or holds no key.
pub async fn read(file: &Path) -> Result<LogKey, KeyFileError> {
    blocking(file, read_key).await
}

/// Reads the unlock key of a node.
///
/// # Errors
///
/// The file cannot be read, or holds no key.
pub async fn read_unlock_key(file: &Path) -> Result<UnlockKey, KeyFileError> {
    blocking(file, parse_file).await
}

/// Reads a key, or makes one, which is durable when this returns.
///
/// # Errors
///
/// The file cannot be read or made, or holds no key.
pub async fn read_or_make(file: &Path, env: &Env) -> Result<LogKey, KeyFileError> {
    let env = env.clone();
    blocking(file, move |file| match read_key(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(file, &env),
        read => read,
    })
    .await
}

async fn blocking<K: Send + 'static>(
    file: &Path,
    work: impl FnOnce(&Path) -> io::Result<K> + Send + 'static,
) -> Result<K, KeyFileError> {
    let path = file.to_owned();
    let done = Spawner::blocking(move || work(&path)).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| KeyFileError { file: file.to_owned(), error })
}

fn parse_file(file: &Path) -> io::Result<UnlockKey> {
    let text = Zeroizing::new(std::fs::read_to_string(file)?);
    UnlockKey::parse(text.trim()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn read_key(file: &Path) -> io::Result<LogKey> {
    Ok(LogKey::new(*parse_file(file)?.as_bytes()))
}

fn make_key(file: &Path, env: &Env) -> io::Result<LogKey> {
    let key = UnlockKey::generate(env);
    let mut made = OpenOptions::new().write(true).create_new(true).mode(KEY_MODE).open(file)?;
    made.write_all(format!("{}\n", *key.to_text()).as_bytes())?;
    made.sync_all()?;
    Ok(LogKey::new(*key.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_key_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        assert!(read(&file).await.is_err());
        let made = read_or_make(&file, &Env::real()).await.unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, KEY_MODE);
        assert!(std::fs::read_to_string(&file).unwrap().starts_with("SWMKEY-1-"));
        for again in [read(&file).await, read_or_make(&file, &Env::real()).await] {
            assert_eq!(again.unwrap().as_bytes(), made.as_bytes());
        }
    }

    #[tokio::test]
    async fn a_file_that_holds_no_key_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notes");
        std::fs::write(&file, "mine").unwrap();
        let told = read_or_make(&file, &Env::real()).await.unwrap_err().to_string();
        assert_eq!(told, format!("cannot use the key file {}: invalid key string", file.display()));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    }
}
