//! A stream that breaks when its other end does not begin to speak in time.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use crate::transport::Stream;

/// What every HTTP/2 client says first: the preface (24 bytes) and the head of its settings (9 bytes).
const GREETING_BYTES: usize = 24 + 9;

/// Waits for the greeting for a while, and then as long as the stream's user does.
///
/// The HTTP/2 library keeps no time before it has seen the greeting, so a caller that stays silent would hold its
/// place for ever.
pub(crate) struct Patience {
    stream: Box<dyn Stream>,
    missing: usize,
    over: Pin<Box<Sleep>>,
}

impl Patience {
    pub(crate) fn new(stream: Box<dyn Stream>, patience: Duration) -> Self {
        Self { stream, missing: GREETING_BYTES, over: Box::pin(tokio::time::sleep(patience)) }
    }
}

impl AsyncRead for Patience {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        if self.missing == 0 {
            return read;
        }
        self.missing = self.missing.saturating_sub(into.filled().len() - before);
        if read.is_pending() && self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Patience {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
