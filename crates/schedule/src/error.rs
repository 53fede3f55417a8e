//! What can be wrong with a schedule.

/// Why a schedule cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// Other than five fields.
    #[error(
        "{given:?}: five fields are needed (minute, hour, day of month, month, day of week), and there are {fields}"
    )]
    Fields {
        /// The expression.
        given: String,
        /// How many it has.
        fields: usize,
    },
    /// A field that means nothing.
    #[error("{field} {given:?}: {reason}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it says.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Days that there are not, such as the 31st of February.
    #[error("{0:?} never comes")]
    Never(String),
    /// A zone that the tz database does not have.
    #[error("{0:?} is no time zone of the tz database, such as Europe/Berlin")]
    Zone(String),
}
