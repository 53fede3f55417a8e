//! What one connection may take, and what all strangers together may, in one place.

use std::time::Duration;

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

/// All that one call may send, in bytes, where anyone may call. A signing request is refused beyond 16 KiB; this leaves room
/// for the token and for whatever later clients add.
pub(crate) const OPEN_MESSAGE_BYTES: usize = 64 * 1024;
/// How far strangers may run ahead, in bytes, on all calls of a connection together: one message of theirs. It is also the
/// least that HTTP/2 begins with.
pub(crate) const STRANGER_WINDOW: u32 = 64 * 1024;
/// The largest set of headers of a stranger, in bytes, for each of its calls. It passes nothing on.
pub(crate) const STRANGER_HEADER_BYTES: u32 = 4 * 1024;
/// How much of an answer to a stranger may wait unsent, in bytes: a root bundle or a chain of certificates.
pub(crate) const STRANGER_SEND_BUFFER: usize = 32 * 1024;
/// How old a stranger's connection gets. Who joins is done in a second; who waits for a certificate that does not come gives
/// up after a minute, or connects again.
pub(crate) const STRANGER_AGE: Duration = Duration::from_secs(120);

/// Connections of one address whose handshake has shown no certificate that counts: a site of 1,000 nodes behind one address
/// may join all at once, and a quarter more.
pub(crate) const VISITS_PER_ADDRESS: usize = 1280;
/// Connections of all addresses that have shown none, or not yet. What a stranger can make one hold is about 200 KiB (window,
/// headers of 16 calls, TLS records, answers), and 40 KiB in practice: 300 MiB at the very worst, 60 MiB in a flood of
/// connections. It is a tenth of the places for connections, so that members always find one, and more handshakes than two
/// cores finish in half a second.
pub(crate) const VISITS_MAX: usize = 1536;
/// What each of them has in any case, when there is no room for more: a handshake takes two round trips. It is also how long
/// a member may have to wait for its turn, a fifth of what it has for connecting.
pub(crate) const VISIT_LEAST: Duration = Duration::from_secs(1);
/// Questions of one address that wait for their answer: one for each of its connections.
pub(crate) const WAITS_PER_ADDRESS: usize = VISITS_PER_ADDRESS;
/// The same of all addresses.
pub(crate) const WAITS_MAX: usize = VISITS_MAX;

/// How many questions and failures an address has at once: a site of 1,000 nodes asks for the roots and for its certificates
/// (2,000), and again when a leader changes meanwhile (4,000).
pub(crate) const ASKED_AT_ONCE: u32 = 4096;
/// How long until it has one more: 200 a second, as often as 1,000 nodes ask that wait for their certificates.
pub(crate) const ASKED_EVERY: Duration = Duration::from_millis(5);
/// What an address gets back for a token that counts: whoever had it has asked for the roots, and will ask two or three times
/// for its certificate. So a site of any size may join.
pub(crate) const ASKED_BY_MEMBER: u32 = 4;
/// Addresses whose questions and failures are counted. Some 100 bytes each; beyond, the one that has asked least is
/// forgotten.
pub(crate) const ADDRESSES_COUNTED: usize = 4096;
