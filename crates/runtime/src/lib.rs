//! Time, chance, ids and supervised tasks: what every part of a node is given.
//!
//! An [`Env`] is the only source of wall-clock time, randomness and fresh ids, and a [`Crew`] is the only way to start
//! something that runs by itself. A node built on these two can be run for real, or inside a simulation from one seed.
//!
//! This crate knows nothing of clusters. It opens no sockets and no files.
//!
//! ```
//! use swarmkit_runtime::{Crew, Env};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let env = Env::real();
//! let stop = CancellationToken::new();
//! let mut crew = Crew::under(&stop);
//! crew.spawn("greeter", {
//!     let env = env.clone();
//!     async move |_stop| {
//!         tracing::info!(id = env.new_id(), "hello");
//!         Ok::<(), std::io::Error>(())
//!     }
//! });
//! assert!(crew.join().await.into_iter().all(|end| end.result.is_ok()));
//! # }
//! ```
//!
//! # Invariants
//!
//! - A part never outlives the crew that spawned it: joining awaits it, dropping the crew aborts it.
//! - Every spawned future carries the context of its crew, so that code with no handle at hand (a library's own
//!   runtime trait) still spawns into the right crew and draws from the right seed.
//! - The numbers drawn from [`Env::rng`] depend on the seed and the label only, never on the order of calls elsewhere.

mod backoff;
mod crew;
mod env;
mod gate;

pub use backoff::Backoff;
pub use crew::{Crew, End, PartError, Spawner};
pub use env::{Clock, Env};
pub use gate::Gate;
