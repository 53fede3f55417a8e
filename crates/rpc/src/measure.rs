//! The span of a call: it lasts until the answer is over, and knows how that went.
//!
//! Whoever subscribes to spans named `rpc.call` (on the serving side) and `rpc.client` (on the calling side, for calls that
//! leave the process) can count and time calls by `method` and `code`. Where nobody does, a call costs one look at a flag.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Frame, SizeHint};
use tonic::{Code, Status, body::Body};
use tracing::Span;

/// Keeps the span open until the body of the answer has ended, or is given up.
pub(crate) fn told(span: Span, answer: Response<Body>) -> Response<Body> {
    if span.is_disabled() {
        return answer;
    }
    // A call that failed before it had anything to say is answered by headers alone.
    if answer.headers().contains_key(Status::GRPC_STATUS) {
        record(&span, answer.headers());
        return answer;
    }
    answer.map(|body| Body::new(Told { body, span, over: false }))
}

/// Says that there was no answer.
pub(crate) fn failed(span: &Span, code: Code) {
    span.record("code", tracing::field::debug(code));
}

fn record(span: &Span, headers: &HeaderMap) {
    let code = headers.get(Status::GRPC_STATUS).map_or(Code::Unknown, |code| Code::from_bytes(code.as_bytes()));
    span.record("code", tracing::field::debug(code));
}

struct Told {
    body: Body,
    span: Span,
    over: bool,
}

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    record(&self.span, trailers);
                    self.over = true;
                }
            }
            Poll::Ready(Some(Err(status))) => {
                failed(&self.span, status.code());
                self.over = true;
            }
            Poll::Ready(None) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if !self.over {
            self.span.record("code", tracing::field::debug(Code::Cancelled));
        }
    }
}
