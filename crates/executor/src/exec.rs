//! Commands in a task that runs, and attaching to a task, as the agent asks for it.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use swarmkit_api::wire::swarmkit::exec::v1 as exec;

use crate::ExecError;

/// What comes from a client, in order. Its end says nothing: that standard input has ended is said by [`ExecInput::End`], and
/// a client that has gone is told by the output being dropped.
pub type ExecInputs = BoxStream<'static, ExecInput>;

/// What goes to a client. It begins with [`ExecOutput::Started`] and ends after [`ExecOutput::Exited`] or an error.
///
/// Nothing is read ahead of whoever polls it but what pipes hold: a client that stalls stalls the command.
pub type ExecOutputs = BoxStream<'static, Result<ExecOutput, ExecError>>;

/// A command to run where a task runs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ExecCommand {
    /// The program and its arguments; at least one.
    pub args: Vec<String>,
    /// Variables as `NAME=value` beside those of the task, and above them.
    pub env: Vec<String>,
    /// Who to run as, by name or number and perhaps with a group after a colon. Empty: as the task does.
    pub user: String,
    /// Directory to run in. Empty: that of the task.
    pub dir: String,
    /// Standard input will come. Otherwise it is empty.
    pub stdin: bool,
    /// Gives the command a terminal of that size.
    pub terminal: Option<TerminalSize>,
}

/// How to attach to a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// Standard input will come.
    pub stdin: bool,
    /// The size of the client's terminal, for a task that has one.
    pub terminal: Option<TerminalSize>,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// What comes from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecInput {
    /// A piece of standard input.
    Stdin(Bytes),
    /// Standard input has ended.
    End,
    /// The client's terminal has this size now.
    Resize(TerminalSize),
    /// A signal for the command, by its number on Linux.
    Signal(i32),
}

/// What goes to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecOutput {
    /// The command runs, or the task is attached to.
    Started,
    /// A piece of standard output, or of what is written to the terminal.
    Stdout(Bytes),
    /// A piece of standard error.
    Stderr(Bytes),
    /// The command, or the task, has ended with this code: 128 + n after signal n.
    Exited(i32),
}

impl std::fmt::Debug for ExecCommand {
    /// Without the values of variables, which may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { args, env, user, dir, stdin, terminal } = self;
        f.debug_struct("ExecCommand")
            .field("args", args)
            .field("env", &env.len())
            .field("user", user)
            .field("dir", dir)
            .field("stdin", stdin)
            .field("terminal", terminal)
            .finish()
    }
}

// === the wire ===

impl From<exec::Command> for ExecCommand {
    fn from(command: exec::Command) -> Self {
        let exec::Command { args, env, user, dir, stdin, terminal } = command;
        Self { args, env, user, dir, stdin, terminal: terminal.map(TerminalSize::from) }
    }
}

impl From<exec::Attach> for AttachOptions {
    fn from(attach: exec::Attach) -> Self {
        Self { stdin: attach.stdin, terminal: attach.terminal.map(TerminalSize::from) }
    }
}

impl From<exec::TerminalSize> for TerminalSize {
    /// What no terminal can be is the largest that one can be.
    fn from(size: exec::TerminalSize) -> Self {
        let narrow = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        Self { rows: narrow(size.rows), columns: narrow(size.columns) }
    }
}

impl ExecInput {
    /// Reads the wire's form. `None` for what this version does not know.
    #[must_use]
    pub fn from_wire(input: exec::Input) -> Option<Self> {
        Some(match input.kind? {
            exec::input::Kind::Stdin(data) => Self::Stdin(data.data),
            exec::input::Kind::End(_) => Self::End,
            exec::input::Kind::Resize(size) => Self::Resize(size.into()),
            exec::input::Kind::Signal(signal) => Self::Signal(i32::try_from(signal).ok()?),
        })
    }
}

impl ExecOutput {
    /// The wire's form.
    #[must_use]
    pub fn to_wire(self) -> exec::Output {
        let kind = match self {
            Self::Started => exec::output::Kind::Started(exec::Started {}),
            Self::Stdout(data) => exec::output::Kind::Stdout(exec::Data { data }),
            Self::Stderr(data) => exec::output::Kind::Stderr(exec::Data { data }),
            Self::Exited(code) => exec::output::Kind::Exited(code),
        };
        exec::Output { kind: Some(kind) }
    }
}

impl ExecError {
    /// How a client is told that its call came to nothing.
    #[must_use]
    pub fn to_failure(&self) -> exec::Failure {
        let reason = match self {
            Self::Unsupported(_) => exec::failure::Reason::Unsupported,
            Self::Temporary(_) | Self::Closed => exec::failure::Reason::Unavailable,
            Self::NoProgram { is_there: false, .. } => exec::failure::Reason::NotFound,
            Self::NoProgram { is_there: true, .. } => exec::failure::Reason::NotExecutable,
            Self::Rejected(_) | Self::Exited { .. } | Self::Failed(_) => exec::failure::Reason::Refused,
        };
        exec::Failure { reason: reason.into(), message: self.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_variables_do_not_show_in_debug() {
        let command = ExecCommand { args: vec!["env".into()], env: vec!["TOKEN=Zq7".into()], ..Default::default() };
        let text = format!("{command:?}");
        assert!(text.contains("\"env\"") && !text.contains("Zq7") && !text.contains("TOKEN"), "{text}");
    }

    #[test]
    fn what_goes_wrong_is_told_by_what_a_client_can_do() {
        use exec::failure::Reason;
        let gone = |is_there| ExecError::NoProgram { is_there, reason: "no".into() };
        for (error, reason) in [
            (ExecError::Unsupported("commands"), Reason::Unsupported),
            (ExecError::temporary("away"), Reason::Unavailable),
            (gone(false), Reason::NotFound),
            (gone(true), Reason::NotExecutable),
            (ExecError::failed("it does not run"), Reason::Refused),
        ] {
            let failure = error.to_failure();
            assert_eq!((failure.reason(), failure.message), (reason, error.to_string()));
        }
    }

    #[test]
    fn an_input_that_is_not_known_is_none() {
        let size = exec::TerminalSize { rows: 70_000, columns: 80 };
        let resize = exec::Input { kind: Some(exec::input::Kind::Resize(size)) };
        let largest = TerminalSize { rows: u16::MAX, columns: 80 };
        assert_eq!(ExecInput::from_wire(resize), Some(ExecInput::Resize(largest)));
        let odd = exec::Input { kind: Some(exec::input::Kind::Signal(u32::MAX)) };
        assert_eq!(ExecInput::from_wire(odd), None);
        assert_eq!(ExecInput::from_wire(exec::Input::default()), None);
    }
}
