//! The volume manager with played plugins, and with ones on a socket.

mod life;
mod node;
mod played;
mod requests;
mod retries;
mod server;
mod socket;
mod world;
