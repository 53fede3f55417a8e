//! Stories: a world in, decisions out; and whole lives on a store, with agents that are played.

mod life;
mod properties;
mod stage;
mod stories;
