//! What an executor and the helper of a command say to each other, through the helper's standard streams.
//!
//! Each frame is a byte that says what it is, four bytes of length (big end first), and so many bytes. The helper is of the same
//! program as the executor, so both know the same frames.

use std::io;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use swarmkit_executor::{ExecInput, ExecOutput, TerminalSize};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How much one piece of data may carry, in bytes.
pub(crate) const PIECE_BYTES: usize = 32 * 1024;
/// The longest frame: an order, whose command is limited by managers to much less.
const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// The length of what comes before the bytes.
const HEAD: usize = 5;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// What to run, as JSON. The first frame to the helper.
    Order(Bytes),
    /// For the command.
    Input(ExecInput),
    /// From the command.
    Output(ExecOutput),
    /// It came to nothing: whether there is such a program, and why it does not run.
    NoProgram { is_there: bool, reason: String },
    /// It came to nothing for another reason.
    Failed(String),
}

impl Frame {
    /// The bytes of this frame.
    pub(crate) fn encode(&self) -> Bytes {
        let size = |size: &TerminalSize| {
            let mut bytes = BytesMut::new();
            bytes.put_u16(size.rows);
            bytes.put_u16(size.columns);
            bytes.freeze()
        };
        let number = |number: i32| Bytes::copy_from_slice(&number.to_be_bytes());
        let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let (kind, bytes) = match self {
            Self::Order(order) => (b'O', order.clone()),
            Self::Input(ExecInput::Stdin(data)) => (b'i', data.clone()),
            Self::Input(ExecInput::End) => (b'd', Bytes::new()),
            Self::Input(ExecInput::Resize(to)) => (b'w', size(to)),
            Self::Input(ExecInput::Signal(signal)) => (b's', number(*signal)),
            Self::Output(ExecOutput::Started) => (b'b', Bytes::new()),
            Self::Output(ExecOutput::Stdout(data)) => (b'1', data.clone()),
            Self::Output(ExecOutput::Stderr(data)) => (b'2', data.clone()),
            Self::Output(ExecOutput::Exited(code)) => (b'x', number(*code)),
            Self::NoProgram { is_there: false, reason } => (b'n', text(reason)),
            Self::NoProgram { is_there: true, reason } => (b'p', text(reason)),
            Self::Failed(reason) => (b'f', text(reason)),
        };
        let mut frame = BytesMut::with_capacity(HEAD + bytes.len());
        frame.put_u8(kind);
        frame.put_u32(u32::try_from(bytes.len()).expect("invariant: frames are far below 4 GiB"));
        frame.put(bytes);
        frame.freeze()
    }

    fn decode(kind: u8, mut bytes: Bytes) -> Option<Self> {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        Some(match kind {
            b'O' => Self::Order(bytes),
            b'i' => Self::Input(ExecInput::Stdin(bytes)),
            b'd' => Self::Input(ExecInput::End),
            b'w' => {
                let (rows, columns) = (bytes.try_get_u16().ok()?, bytes.try_get_u16().ok()?);
                Self::Input(ExecInput::Resize(TerminalSize { rows, columns }))
            }
            b's' => Self::Input(ExecInput::Signal(bytes.try_get_i32().ok()?)),
            b'b' => Self::Output(ExecOutput::Started),
            b'1' => Self::Output(ExecOutput::Stdout(bytes)),
            b'2' => Self::Output(ExecOutput::Stderr(bytes)),
            b'x' => Self::Output(ExecOutput::Exited(bytes.try_get_i32().ok()?)),
            b'n' => Self::NoProgram { is_there: false, reason: text(&bytes) },
            b'p' => Self::NoProgram { is_there: true, reason: text(&bytes) },
            b'f' => Self::Failed(text(&bytes)),
            _ => return None,
        })
    }
}

/// Reads frames. What was read of one is kept, so that a read may be dropped and begun again.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    from: R,
    read: BytesMut,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, read: BytesMut::new() }
    }

    /// Where they come from.
    pub(crate) fn source(&self) -> &R {
        &self.from
    }

    /// The next frame; none when the other side is gone.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            self.read.reserve(HEAD + PIECE_BYTES);
            if self.from.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn take(&mut self) -> io::Result<Option<Frame>> {
        let mut head = &self.read[..];
        let (Ok(kind), Ok(length)) = (head.try_get_u8(), head.try_get_u32()) else { return Ok(None) };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::other("a frame is too long"));
        }
        if head.len() < length {
            return Ok(None);
        }
        self.read.advance(HEAD);
        let bytes = self.read.split_to(length).freeze();
        Frame::decode(kind, bytes).map(Some).ok_or_else(|| io::Error::other("a frame of an unknown kind"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_read_as_they_are_written_however_they_come() {
        let size = TerminalSize { rows: 24, columns: 80 };
        let frames = [
            Frame::Order(Bytes::from_static(b"{}")),
            Frame::Input(ExecInput::Stdin(Bytes::from_static(b"\0\xff"))),
            Frame::Input(ExecInput::End),
            Frame::Input(ExecInput::Resize(size)),
            Frame::Input(ExecInput::Signal(15)),
            Frame::Output(ExecOutput::Started),
            Frame::Output(ExecOutput::Stdout(Bytes::from(vec![7; PIECE_BYTES]))),
            Frame::Output(ExecOutput::Stderr(Bytes::new())),
            Frame::Output(ExecOutput::Exited(-1)),
            Frame::NoProgram { is_there: false, reason: "no".into() },
            Frame::NoProgram { is_there: true, reason: "no".into() },
            Frame::Failed("why".into()),
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.encode().to_vec()).collect();
        let mut whole = Frames::new(&bytes[..]);
        for frame in &frames {
            assert_eq!(whole.next().await.unwrap().as_ref(), Some(frame));
        }
        assert_eq!(whole.next().await.unwrap(), None);

        let first: Vec<u8> = frames[..5].iter().flat_map(|frame| frame.encode().to_vec()).collect();
        let (mut to, from) = tokio::io::duplex(1);
        let writing = tokio::io::AsyncWriteExt::write_all(&mut to, &first);
        let mut slow = Frames::new(from);
        let reading = async {
            for frame in &frames[..5] {
                assert_eq!(slow.next().await.unwrap().as_ref(), Some(frame));
            }
        };
        let (written, ()) = tokio::join!(biased; writing, reading);
        written.unwrap();
    }

    #[tokio::test]
    async fn what_is_no_frame_is_refused() {
        assert!(Frames::new(&b"?\0\0\0\0"[..]).next().await.is_err());
        assert!(Frames::new(&b"i\xff\0\0\0"[..]).next().await.is_err());
        assert!(Frames::new(&b"s\0\0\0\x01\0"[..]).next().await.is_err());
    }
}
