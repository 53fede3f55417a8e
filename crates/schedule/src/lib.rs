//! When the runs of a scheduled job are due: a cron expression, read in a time zone.
//!
//! An expression is the five fields that cron knows: minute, hour, day of month, month, day of week. Lists, ranges, steps
//! and names of months and days are as everywhere; `L`, `W` and `#` are understood too. Where neither day field begins
//! with `*`, a day has to match one of the two only.
//!
//! What clocks that are set forward and back do to it is said at [`Timetable`]. The zones are those of the tz database
//! that is built in, never of the machine, so that all managers of a cluster decide alike.
//!
//! This crate knows no clock: whoever asks says what time it is. It starts nothing, and remembers nothing.
//!
//! ```
//! use std::time::{Duration, UNIX_EPOCH};
//! use swarmkit_schedule::Timetable;
//!
//! let nightly = Timetable::parse("0 3 * * *", "Europe/Berlin")?;
//! let midnight_utc = UNIX_EPOCH + Duration::from_secs(1_735_689_600); // 2025-01-01T00:00:00Z
//! assert_eq!(nightly.next_after(midnight_utc), Some(midnight_utc + Duration::from_secs(2 * 3600)));
//!
//! let error = Timetable::parse("0 25 * * *", "").unwrap_err();
//! assert!(error.to_string().starts_with("hour \"25\": "));
//! # Ok::<(), swarmkit_schedule::ScheduleError>(())
//! ```
//!
//! # Invariants
//!
//! - [`Timetable::next_after`] is later than what it is asked for, and [`Timetable::last_in`] is one of the times that
//!   `next_after` goes through.
//! - The same question has the same answer on every machine.
//! - Every answer takes a bounded number of steps, whatever the expression.

mod error;
mod limits;
mod timetable;

pub use error::ScheduleError;
pub use limits::{HISTORY_MAX, RUNS_AT_ONCE_MAX};
pub use timetable::Timetable;
