//! How programs are given the key of a locked node: never by accident in a place where others can read it.

use std::{fmt, path::PathBuf};

use swarmkit_ca::UnlockKey;
use zeroize::Zeroizing;

use crate::sealing::{self, KeyFileError};

/// The variable that holds the key. Only the owner of a process can read its environment, and tasks do not get it.
pub const UNLOCK_VARIABLE: &str = "SWARM_UNLOCK_KEY";

/// The flags for the key. What is given as a flag comes before what is in the environment.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct UnlockFlags {
    /// File with the key that unlocks the node, as `swarmctl cluster unlock-key` shows it; the variable SWARM_UNLOCK_KEY can
    /// hold it instead
    #[arg(long, value_name = "FILE", conflicts_with = "unlock_key")]
    unlock_key_file: Option<PathBuf>,

    /// The key itself; other users of the machine can see it while the program runs, so prefer the file
    #[arg(long, value_name = "KEY")]
    unlock_key: Option<Typed>,
}

/// What was typed as a key. It is read later, so that no message of the argument parser shows a key with a slip in it.
#[derive(Clone)]
struct Typed(Zeroizing<String>);

/// The key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// What was given as a flag is none.
    #[error("--unlock-key is no unlock key: {0}")]
    Flag(swarmkit_ca::Error),
    /// What the environment holds is none.
    #[error("the variable {UNLOCK_VARIABLE} holds no unlock key: {0}")]
    Variable(swarmkit_ca::Error),
    /// The file.
    #[error(transparent)]
    File(#[from] KeyFileError),
}

impl UnlockFlags {
    /// The key, if one was given.
    pub(crate) async fn read(self) -> Result<Option<UnlockKey>, UnlockError> {
        if let Some(file) = self.unlock_key_file {
            return Ok(Some(sealing::read_unlock_key(&file).await?));
        }
        if let Some(Typed(text)) = self.unlock_key {
            return UnlockKey::parse(&text).map(Some).map_err(UnlockError::Flag);
        }
        from_variable(std::env::var(UNLOCK_VARIABLE).ok().map(Zeroizing::new))
    }
}

/// An empty variable is as good as none.
fn from_variable(value: Option<Zeroizing<String>>) -> Result<Option<UnlockKey>, UnlockError> {
    let value = value.filter(|value| !value.trim().is_empty());
    value.map(|value| UnlockKey::parse(value.trim())).transpose().map_err(UnlockError::Variable)
}

impl From<&str> for Typed {
    fn from(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Typed")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    const KEY: &str = "SWMKEY-1-BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

    #[derive(Debug, clap::Parser)]
    struct Program {
        #[command(flatten)]
        unlock: UnlockFlags,
    }

    fn parsed(flags: &[&str]) -> Result<UnlockFlags, String> {
        let line = ["program"].iter().chain(flags);
        Program::try_parse_from(line).map(|program| program.unlock).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn the_key_comes_from_the_flag_or_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, format!("{KEY}\n")).unwrap();
        let key = UnlockKey::from_bytes(&[7; 32]).unwrap();
        let path = file.to_str().unwrap();
        for flags in [["--unlock-key", KEY], ["--unlock-key-file", path]] {
            assert_eq!(parsed(&flags).unwrap().read().await.unwrap().unwrap(), key);
        }
        let told = parsed(&["--unlock-key", KEY, "--unlock-key-file", path]).unwrap_err();
        assert!(told.contains("cannot be used with"), "{told}");
        std::fs::write(&file, "nonsense").unwrap();
        let told = parsed(&["--unlock-key-file", path]).unwrap().read().await.unwrap_err().to_string();
        assert_eq!(told, format!("cannot use the key file {path}: invalid key string"));
    }

    #[tokio::test]
    async fn a_flag_that_holds_no_key_is_refused_without_showing_it() {
        for wrong in ["", "SWMKEY-1-", "SWMTKN-1-abc"] {
            let told = parsed(&["--unlock-key", wrong]).unwrap().read().await.unwrap_err().to_string();
            assert_eq!(told, "--unlock-key is no unlock key: invalid key string");
        }
    }

    #[test]
    fn the_variable_may_be_empty_and_must_not_be_wrong() {
        let of = |text: &str| from_variable(Some(Zeroizing::new(text.to_owned())));
        assert!(from_variable(None).unwrap().is_none() && of(" \n").unwrap().is_none());
        assert_eq!(of(&format!("{KEY}\n")).unwrap(), UnlockKey::from_bytes(&[7; 32]).ok());
        let told = of("nonsense").unwrap_err().to_string();
        assert_eq!(told, "the variable SWARM_UNLOCK_KEY holds no unlock key: invalid key string");
    }

    #[test]
    fn the_key_is_not_shown_when_flags_are_printed() {
        assert!(!format!("{:?}", parsed(&["--unlock-key", KEY]).unwrap()).contains("BwcH"));
    }
}
