//! What must be true of what clients and watches were told. Each check is a pure function; an empty answer is a good one.

mod names;
mod watches;
mod writes;

pub(crate) use names::names;
pub(crate) use watches::{covered, watches};
pub(crate) use writes::writes;
