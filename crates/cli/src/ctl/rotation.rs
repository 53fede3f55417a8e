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

/// Waits until the root that a cluster is on its way to is its own. At once if it is on its way nowhere.
///
/// Who gives up waiting changes nothing: the managers see to it.
pub(super) async fn wait(context: &mut Context<'_>, cluster: &wire::Cluster) -> Result<(), CtlError> {
    let target = |cluster: &wire::Cluster| {
        cluster.root_ca.as_ref().and_then(|root| root.root_rotation.as_ref()).map(|rotation| rotation.ca_cert.clone())
    };
    let Some(wanted) = target(cluster) else { return Ok(()) };
    let (mut board, mut leaderless) = (Board::new(), 0);
    loop {
        match look(context, &cluster.id).await {
            Ok((now, progress)) => {
                leaderless = 0;
                let reached = now.root_ca.as_ref().is_some_and(|root| root.ca_cert == wanted);
                match (target(&now), progress) {
                    (Some(next), Some(progress)) if next == wanted => board.show(&rotation_line(&progress)),
                    (None, _) if reached => {
                        board.end("the root certificate is replaced; nodes join with new tokens from now on");
                        return Ok(());
                    }
                    _ => {
                        board.clear();
                        return Err(CtlError::State(
                            "somebody has given this replacement up for another wish".to_owned(),
                        ));
                    }
                }
            }
            Err(status) if status.code() == Code::Unavailable && leaderless < LEADERLESS_MAX => leaderless += 1,
            Err(status) => {
                board.clear();
                return Err(status.into());
            }
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

    fn end(&self, line: &str) {
        self.clear();
        let _ = writeln!(io::stderr(), "{line}");
    }
}
