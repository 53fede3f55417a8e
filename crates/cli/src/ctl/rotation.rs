//! Waiting until the root of trust is replaced, and telling how far that has got.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use swarmkit_api::wire;
use swarmkit_issuer::Progress;
use tonic::Code;

use super::{Context, CtlError};
use crate::output::rotation_line;

/// How often to look.
const POLL: Duration = Duration::from_millis(500);
/// How often in a row it may be that no manager leads: half a minute of questions that are refused at once. Each may take
/// ten seconds before.
const LEADERLESS_MAX: u32 = 60;

/// The certificate of the root that a cluster is on its way to.
fn target(cluster: &wire::Cluster) -> Option<&bytes::Bytes> {
    let rotation = cluster.root_ca.as_ref()?.root_rotation.as_ref()?;
    Some(&rotation.ca_cert)
}

/// Waits until the root that a cluster is on its way to is its own. At once if it is on its way nowhere.
///
/// Who gives up waiting changes nothing: the managers see to it. Whoever interrupts it is told so.
pub(super) async fn wait(context: &mut Context<'_>, cluster: &wire::Cluster) -> Result<(), CtlError> {
    let Some(wanted) = target(cluster) else { return Ok(()) };
    let mut board = Board::new();
    let result = tokio::select! { biased; // what is done is done, whoever does not want to wait for it any more
        result = follow(context, &cluster.id, wanted, &mut board) => result,
        interrupted = tokio::signal::ctrl_c() => Err(interrupted.map_or_else(CtlError::Signals, |()| CtlError::Interrupted)),
    };
    board.clear();
    if result.is_ok() {
        // There is nobody left to tell when this fails.
        let _ = writeln!(io::stderr(), "the root certificate is replaced; nodes join with new tokens from now on");
    }
    result
}

/// Shows how far it has got, until the root is the wanted one.
async fn follow(context: &mut Context<'_>, id: &str, wanted: &[u8], board: &mut Board) -> Result<(), CtlError> {
    let mut leaderless = 0;
    loop {
        match look(context, id).await {
            Ok((now, progress)) => {
                leaderless = 0;
                if now.root_ca.as_ref().is_some_and(|root| root.ca_cert == wanted) {
                    return Ok(());
                }
                match progress.filter(|_| target(&now).is_some_and(|next| next == wanted)) {
                    Some(progress) => board.show(&rotation_line(&progress)),
                    None => {
                        let told = "somebody has given this replacement up for another wish";
                        return Err(CtlError::State(told.to_owned()));
                    }
                }
            }
            Err(status) if status.code() == Code::Unavailable && leaderless < LEADERLESS_MAX => leaderless += 1,
            Err(status) => return Err(status.into()),
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn look(context: &mut Context<'_>, id: &str) -> Result<(wire::Cluster, Option<Progress>), tonic::Status> {
    // The nodes come first: those of a cluster whose root is replaced by then are of no interest.
    let nodes = context.control.list_nodes(wire::ListNodesRequest::default()).await?.into_inner().nodes;
    let request = wire::GetClusterRequest { cluster_id: id.to_owned() };
    let cluster = context.control.get_cluster(request).await?.into_inner().cluster.unwrap_or_default();
    let progress = Progress::of(&cluster, &nodes);
    Ok((cluster, progress))
}

/// A line that changes on a terminal, and a line for each change elsewhere. On standard error: the other one is for
/// programs.
struct Board {
    terminal: bool,
    last: String,
}

impl Board {
    fn new() -> Self {
        Self { terminal: io::stderr().is_terminal(), last: String::new() }
    }

    fn show(&mut self, line: &str) {
        if self.last == line {
            return;
        }
        line.clone_into(&mut self.last);
        // There is nobody left to tell when this fails.
        let _ = if self.terminal { write!(io::stderr(), "\r\x1b[K{line}") } else { writeln!(io::stderr(), "{line}") };
    }

    fn clear(&self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
