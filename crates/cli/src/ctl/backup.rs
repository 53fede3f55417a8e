//! `swarmctl cluster backup`: the whole state of a cluster, in one sealed file.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use swarmkit_api::wire::swarmkit::backup::v1::{SaveRequest, SaveResponse};
use swarmkit_raft::BackupWriter;
use swarmkit_runtime::Env;
use tonic::Streaming;

use super::{Context, CtlError, Format};
use crate::sealing;

/// How long a manager may take for the next piece. It makes one in milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// File to write; it must not be there yet
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// File with the key that seals the backup; it is made if it is not there. Keep it elsewhere than the backup
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,

    /// How to tell what was saved
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What was saved.
#[derive(serde::Serialize)]
struct Saved<'a> {
    file: &'a Path,
    key_file: &'a Path,
    version: u64,
    bytes: u64,
}

pub(super) async fn run(context: &mut Context<'_>, flags: Flags) -> Result<(), CtlError> {
    let env = Env::real();
    let key = sealing::read_or_make(&flags.key_file, &env).await?;
    let mut writer = BackupWriter::create(&flags.file, &key, &env).await?;
    let mut pieces = context.client.backup().save(SaveRequest {}).await?.into_inner();
    let mut progress = Progress::new();
    let mut bytes = 0;
    let version = loop {
        let piece = next(&mut pieces).await?;
        writer.write(&piece.data).await?;
        bytes += piece.data.len() as u64;
        progress.show(bytes);
        if piece.last {
            break piece.version;
        }
    };
    writer.finish().await?;
    progress.clear();
    let saved = Saved { file: &flags.file, key_file: &flags.key_file, version, bytes };
    context.show(flags.format, &saved, || {
        format!(
            "Saved version {version} of the cluster ({bytes} bytes) to {}.\nWhoever restores it needs the key in {}: keep \
             that file elsewhere, and keep it secret.\n",
            flags.file.display(),
            flags.key_file.display(),
        )
    })
}

/// The next piece. A stream that ends early, or stands still, is an error: what was written until then is no backup.
async fn next(pieces: &mut Streaming<SaveResponse>) -> Result<SaveResponse, CtlError> {
    let piece = tokio::time::timeout(PATIENCE, pieces.message()).await;
    let broken_off = || CtlError::State("the manager broke the backup off: take it again".to_owned());
    piece
        .map_err(|_| CtlError::State(format!("the manager sent nothing for {} s", PATIENCE.as_secs())))??
        .ok_or_else(broken_off)
}

/// A line that grows on a terminal, and nothing elsewhere.
struct Progress(bool);

impl Progress {
    fn new() -> Self {
        Self(io::stderr().is_terminal())
    }

    fn show(&self, bytes: u64) {
        if self.0 {
            let _ = write!(io::stderr(), "\r\x1b[Ksaving: {:.1} MB", bytes as f64 / 1e6);
        }
    }

    fn clear(&mut self) {
        if self.0 {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
