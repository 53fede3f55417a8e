//! The two ends of a call: what the client reads of the node, and what the node reads of the client.

use std::sync::Arc;

use futures_util::StreamExt as _;
use parking_lot::Mutex;
use swarmkit_api::wire::swarmkit::exec::v1::{
    Data, End, Failure, Input, Output, ServeRequest, input, open_request, output, serve_request,
};
use tokio::{sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    ExecError,
    audit::Audit,
    desk::{Desk, Ends, FromClient, FromNode},
};

/// How much one message may carry, in bytes. With the windows of the connections it bounds what is under way of a call.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// What the client reads. Dropping it ends the call, also at the node.
pub(crate) struct Reading {
    pub(crate) id: String,
    pub(crate) desk: Arc<Mutex<Desk>>,
    /// Ends with the term.
    pub(crate) term: CancellationToken,
    /// Tells the other end that this one is over.
    pub(crate) over: CancellationToken,
    pub(crate) source: Source,
    /// What people call the node.
    pub(crate) node: String,
    pub(crate) audit: Audit,
    pub(crate) done: bool,
}

/// Where the output comes from.
pub(crate) enum Source {
    /// The node was told, and comes for the call or does not.
    Awaited { node: oneshot::Receiver<FromNode>, until: Instant, otherwise: ExecError },
    /// The node serves it.
    Node(FromNode),
}

/// What the node reads.
pub(crate) struct Feeding {
    client: FromClient,
    over: CancellationToken,
    /// The client has sent everything.
    ended: bool,
}

impl Reading {
    /// The next thing for the client. Ends after the last message of the node, or after an error.
    pub(crate) async fn next(&mut self) -> Option<Result<Output, ExecError>> {
        if self.done {
            return None;
        }
        let output = tokio::select! { biased; // a term that is over passes nothing on
            () = self.term.cancelled() => Err(ExecError::LeaderChanged),
            output = self.source.next(&self.node) => output,
        };
        match &output {
            Ok(Output { kind: Some(output::Kind::Exited(code)) }) => {
                self.done = true;
                self.audit.ends(&format_args!("exit code {code}"));
            }
            Ok(Output { kind: Some(output::Kind::Failure(Failure { message, .. })) }) => {
                self.done = true;
                self.audit.ends(message);
            }
            Ok(_) => {}
            Err(error) => {
                self.done = true;
                self.audit.ends(error);
            }
        }
        Some(output)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.over.cancel();
        self.desk.lock().close(&self.id);
    }
}

impl Source {
    async fn next(&mut self, node: &str) -> Result<Output, ExecError> {
        if let Self::Awaited { node, until, otherwise } = self {
            let come = tokio::time::timeout_at(*until, node).await;
            *self = Self::Node(come.ok().and_then(Result::ok).ok_or_else(|| otherwise.clone())?);
        }
        let Self::Node(messages) = self else { unreachable!("invariant: it was awaited above") };
        match messages.next().await {
            Some(Ok(ServeRequest { message: Some(serve_request::Message::Output(output)) })) => {
                check_piece(match &output.kind {
                    Some(output::Kind::Stdout(data) | output::Kind::Stderr(data)) => Some(data),
                    _ => None,
                })?;
                Ok(output)
            }
            Some(Ok(_)) => Err(ExecError::Protocol("the node has sent something else than output")),
            Some(Err(_)) | None => Err(ExecError::Lost(node.to_owned())),
        }
    }
}

impl Feeding {
    pub(crate) fn new(ends: Ends, node: FromNode) -> Result<Self, ExecError> {
        let Ends { client, node: awaiting, over } = ends;
        // A client that has gone meanwhile does not wait any more.
        awaiting.send(node).map_err(|_| ExecError::UnknownCall)?;
        Ok(Self { client, over, ended: false })
    }

    /// The next thing for the node. Ends when the client has gone, and not before.
    pub(crate) async fn next(&mut self) -> Option<Result<Input, ExecError>> {
        let message = tokio::select! { biased; // nothing is done for a client that has gone
            () = self.over.cancelled() => return None,
            message = self.client.next(), if !self.ended => message,
            else => return None,
        };
        match message.map(|message| message.map(|message| message.message)) {
            Some(Ok(Some(open_request::Message::Input(input)))) => {
                let piece = match &input.kind {
                    Some(input::Kind::Stdin(data)) => Some(data),
                    _ => None,
                };
                Some(check_piece(piece).map(|()| input))
            }
            Some(Ok(_)) => Some(Err(ExecError::Protocol("a second call was made in one stream"))),
            None => {
                self.ended = true;
                Some(Ok(Input { kind: Some(input::Kind::End(End {})) }))
            }
            Some(Err(_)) => None,
        }
    }
}

fn check_piece(data: Option<&Data>) -> Result<(), ExecError> {
    match data {
        Some(data) if data.data.len() > PIECE_BYTES_MAX => {
            Err(ExecError::Protocol("a piece of data is larger than 64 KiB"))
        }
        _ => Ok(()),
    }
}
