//! What one connection may take, in one place.

/// How far a sender may run ahead of its reader, in bytes, on one call. Large enough for a message of the default
/// limit (4 MiB) to need few round trips, small enough that a slow reader costs little.
pub(crate) const STREAM_WINDOW: u32 = 1024 * 1024;
/// The same for all calls of a connection together.
pub(crate) const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// The largest set of headers, in bytes. Ours have some hundred.
pub(crate) const HEADER_BYTES: u32 = 16 * 1024;
/// How much of an answer may wait unsent, in bytes, for each call.
pub(crate) const SEND_BUFFER: usize = 512 * 1024;

/// Calls that a caller without a certificate may have open: it joins, and nothing else.
pub(crate) const STREAMS_OF_STRANGER: u32 = 16;
/// Calls that a worker may have open: session, assignments, status, logs of many tasks.
pub(crate) const STREAMS_OF_WORKER: u32 = 1024;
/// Calls that a manager may have open: it passes on the sessions of all workers that reached it.
pub(crate) const STREAMS_OF_MANAGER: u32 = 65_536;
/// Calls that may have been given up by their caller before this node has seen them, if so many may be open. More end the
/// connection. A manager that was held up finds those of a second or two when it goes on.
pub(crate) const STREAMS_GIVEN_UP: usize = 1024;

/// The one message of a call that is passed on, in bytes: the default limit of those who read it (4 MiB), and its frame.
pub(crate) const MESSAGE_BYTES: usize = 4 * 1024 * 1024 + 64;
