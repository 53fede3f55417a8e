//! What went wrong with a task, told by what the agent can do about it.

/// Whatever is behind an error: a text or an error of the layer below.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why an operation on a task did not do what it should.
///
/// An operation that was dropped half way is no error: it is called again when it is needed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// It may work if tried again later; nothing has been lost. The task keeps its state.
    #[error("{0}")]
    Temporary(#[source] Cause),
    /// This node cannot run this task, now or later. The task ends as REJECTED if it was never started, else as FAILED.
    #[error("{0}")]
    Rejected(#[source] Cause),
    /// The task ended by itself, and not well. It ends as FAILED with this code.
    #[error("task: non-zero exit ({code}){}", after_colon(reason.as_deref()))]
    Exited {
        /// The exit code; 128 + n after the signal n.
        code: i32,
        /// What is known beyond the code, such as "killed by SIGKILL: out of memory".
        reason: Option<String>,
    },
    /// It broke while starting or running, in another way than by its exit code: unhealthy, lost, not startable. The
    /// task ends as REJECTED if it was never started, else as FAILED.
    #[error("{0}")]
    Failed(#[source] Cause),
    /// A command in a task cannot be run, since its program cannot. Concerns nobody but who asked for it.
    #[error("{reason}")]
    NoProgram {
        /// There is such a program.
        is_there: bool,
        /// What the machine says.
        #[source]
        reason: Cause,
    },
    /// This executor does not have that ability. The agent does without.
    #[error("this executor does not offer {0}")]
    Unsupported(&'static str),
    /// The controller was closed before: a mistake of the caller.
    #[error("controller closed")]
    Closed,
}

fn after_colon(text: Option<&str>) -> String {
    text.map(|text| format!(": {text}")).unwrap_or_default()
}

impl ExecError {
    /// See [`ExecError::Temporary`].
    pub fn temporary(cause: impl Into<Cause>) -> Self {
        Self::Temporary(cause.into())
    }

    /// See [`ExecError::Rejected`].
    pub fn rejected(cause: impl Into<Cause>) -> Self {
        Self::Rejected(cause.into())
    }

    /// See [`ExecError::Failed`].
    pub fn failed(cause: impl Into<Cause>) -> Self {
        Self::Failed(cause.into())
    }

    /// Ended with `code`, and nothing more is known.
    #[must_use]
    pub fn exited(code: i32) -> Self {
        Self::Exited { code, reason: None }
    }

    /// Whether the same operation may succeed when it is tried again later: this error says so, or one below it.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.and_below().any(|error| matches!(error, Self::Temporary(_)))
    }

    /// The code that the task ended with, if it did: by this error, or one below it.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        self.and_below().find_map(|error| match error {
            Self::Exited { code, .. } => Some(*code),
            _ => None,
        })
    }

    /// This error, and those of this kind that are wrapped in it.
    fn and_below(&self) -> impl Iterator<Item = &Self> {
        let whole: &(dyn std::error::Error + 'static) = self;
        std::iter::successors(Some(whole), |error| error.source()).filter_map(|error| error.downcast_ref::<Self>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_exit_is_the_one_that_clients_know() {
        assert_eq!(ExecError::exited(3).to_string(), "task: non-zero exit (3)");
        let killed = ExecError::Exited { code: 137, reason: Some("killed by SIGKILL".into()) };
        assert_eq!(killed.to_string(), "task: non-zero exit (137): killed by SIGKILL");
        assert_eq!(killed.exit_code(), Some(137));
        assert_eq!(ExecError::failed("unhealthy").to_string(), "unhealthy");
        assert!(ExecError::temporary("no memory left").is_temporary());
    }

    #[test]
    fn what_is_said_below_other_errors_counts() {
        let below = ExecError::failed(ExecError::rejected(ExecError::temporary("no memory left")));
        assert!(below.is_temporary() && below.to_string() == "no memory left");
        assert!(!ExecError::failed("no memory left").is_temporary());
        assert_eq!(ExecError::failed(ExecError::exited(4)).exit_code(), Some(4));
    }
}
