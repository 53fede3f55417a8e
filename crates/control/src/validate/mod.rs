//! Rules for requests, as pure functions over the wire's messages. Nothing here looks into the store.

mod container;
mod name;
mod network;
mod payload;
mod service;
mod task;

pub(crate) use name::{dns_name, file_like_name};
pub(crate) use network::{PREDEFINED_LABEL, network};
pub(crate) use payload::{config, secret};
pub(crate) use service::service;

use prost_types::Duration;

use crate::ControlError;

type Checked = Result<(), ControlError>;

/// How long a message says, in nanoseconds. Durations on the wire may have either part negative.
fn nanoseconds(duration: &Duration) -> i128 {
    i128::from(duration.seconds) * 1_000_000_000 + i128::from(duration.nanos)
}

/// An absent or non-negative duration.
fn not_negative(field: &str, duration: Option<&Duration>) -> Checked {
    if duration.is_some_and(|duration| nanoseconds(duration) < 0) {
        return Err(ControlError::invalid(format!("{field}: duration must not be negative")));
    }
    Ok(())
}
