//! `swarmctl cluster unlock`: the key for a manager that was started without it.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use swarmkit_api::wire::swarmkit::unlock::v1::{AskRequest, OpenRequest};
use swarmkit_runtime::Spawner;
use tonic::Code;
use zeroize::Zeroizing;

use super::{Context, CtlError};
use crate::{client::Client, unlocking::UnlockFlags};

#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    #[command(flatten)]
    unlock: UnlockFlags,
}

pub(super) async fn run(context: &mut Context<'_>, flags: Flags) -> Result<(), CtlError> {
    if let Err(status) = context.client.unlock().ask(AskRequest {}).await {
        return Err(match status.code() {
            Code::Unimplemented => CtlError::State("this node is not locked".to_owned()),
            _ => status.into(),
        });
    }
    let key = match flags.unlock.read().await? {
        Some(key) => key.to_text(),
        None => Spawner::blocking(read).await.unwrap_or_else(|error| Err(io::Error::other(error)))?,
    };
    context.client.unlock().open(OpenRequest { key: key.to_string() }).await?;
    writeln!(context.out, "The node is unlocked, and starts.")?;
    Ok(())
}

/// Whether the node at a socket refuses calls since it waits for its key.
pub(super) async fn is_waiting(client: &Client) -> bool {
    client.unlock().ask(AskRequest {}).await.is_ok()
}

/// One line of standard input. A terminal shows nothing of it.
fn read() -> io::Result<Zeroizing<String>> {
    let stdin = io::stdin();
    let hidden = if stdin.is_terminal() { Some(Hidden::begin()?) } else { None };
    let mut line = Zeroizing::new(String::new());
    let read = stdin.lock().read_line(&mut line);
    drop(hidden);
    read.map(|_| Zeroizing::new(line.trim().to_owned()))
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> io::Result<Self> {
        eprint!("Unlock key: ");
        let _ = io::stderr().flush();
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
        eprintln!();
    }
}
