//! What may be asked for, and of whom. Pure.

use swarmkit_api::{
    Node, NodeId, Task, TaskId, TaskState,
    wire::{
        node_status::State as NodeState,
        swarmkit::exec::v1::{Call, Command, TerminalSize, call::Kind, exec_settings::Policy},
    },
};
use swarmkit_store::{ClusterBy, DEFAULT_CLUSTER, State};

use crate::ExecError;

/// How long a command may be with its arguments and variables together, in bytes. The kernel takes more, but what is longer is
/// data and belongs on standard input; it also bounds what is kept of calls that wait for their node.
pub const COMMAND_BYTES_MAX: usize = 128 * 1024;

/// The node that a call is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) node: NodeId,
    /// What people call it.
    pub(crate) name: String,
}

/// Decides whether a call may be made now, and finds its node.
pub(crate) fn place(call: &Call, state: &State) -> Result<Place, ExecError> {
    let kind = call.kind.as_ref().ok_or_else(|| invalid("the call does not say what it asks for"))?;
    match kind {
        Kind::Command(command) => check_command(command)?,
        Kind::Attach(attach) => check_terminal(attach.terminal)?,
        Kind::Usage(_) => {}
    }
    let is_command = !matches!(kind, Kind::Usage(_));
    if is_command && policy(state) == Policy::Deny {
        return Err(ExecError::Forbidden);
    }
    match (call.task_id.as_str(), call.node_id.as_str()) {
        ("", "") => Err(invalid("a task must be named")),
        ("", _) if is_command => Err(invalid("a task must be named")),
        ("", node) => place_of(state, &NodeId::from(node)),
        (task, "") => {
            let found = state.get::<Task>(&TaskId::from(task));
            let task = found.ok_or_else(|| ExecError::NotFound(format!("task {task}")))?;
            // One that starts has its process already where its health is waited for.
            let runs = (TaskState::Starting..=TaskState::Running).contains(&task.status.state);
            match &task.node_id {
                Some(node) if runs => place_of(state, node),
                _ => Err(ExecError::NotThere {
                    task: task.id.to_string(),
                    state: task.status.state.as_str_name().to_owned(),
                }),
            }
        }
        _ => Err(invalid("a task and a node are named")),
    }
}

fn place_of(state: &State, id: &NodeId) -> Result<Place, ExecError> {
    let node = state.get::<Node>(id).ok_or_else(|| ExecError::NotFound(format!("node {id}")))?;
    let name = node.description.as_ref().map_or("", |description| description.hostname.as_str());
    let name = if name.is_empty() { id.to_string() } else { format!("{name} ({id})") };
    if node.status.state() == NodeState::Down {
        return Err(ExecError::Down(name));
    }
    Ok(Place { node: id.clone(), name })
}

fn policy(state: &State) -> Policy {
    let cluster = state.find(ClusterBy::Name(DEFAULT_CLUSTER)).next();
    cluster.and_then(|cluster| cluster.spec.exec).map_or(Policy::Allow, |settings| settings.policy())
}

fn check_command(command: &Command) -> Result<(), ExecError> {
    let Command { args, env, user, dir, stdin: _, terminal } = command;
    if args.first().is_none_or(String::is_empty) {
        return Err(invalid("a command must be given"));
    }
    let bytes: usize = args.iter().chain(env).map(|text| text.len() + 1).sum();
    if bytes > COMMAND_BYTES_MAX {
        return Err(invalid(format!(
            "the command is {bytes} bytes long with its variables, and may have {COMMAND_BYTES_MAX}; send data through standard input"
        )));
    }
    if args.iter().chain(env).chain([user, dir]).any(|text| text.contains('\0')) {
        return Err(invalid("the command contains a zero byte"));
    }
    // Without its value, which may be a secret.
    if env.iter().any(|entry| entry.split_once('=').is_none_or(|(name, _)| name.is_empty())) {
        return Err(invalid("a variable is not of the form NAME=value"));
    }
    if !dir.is_empty() && !dir.starts_with('/') {
        return Err(invalid(format!("the directory {dir:?} is not absolute")));
    }
    check_terminal(*terminal)
}

fn check_terminal(size: Option<TerminalSize>) -> Result<(), ExecError> {
    match size {
        Some(TerminalSize { rows, columns }) if rows.max(columns) > u32::from(u16::MAX) => {
            Err(invalid(format!("no terminal has {rows} lines of {columns} characters")))
        }
        _ => Ok(()),
    }
}

fn invalid(text: impl Into<String>) -> ExecError {
    ExecError::Invalid(text.into())
}

#[cfg(test)]
mod tests {
    use swarmkit_api::wire::swarmkit::exec::v1::{Attach, UsageQuery};

    use super::*;

    fn command(args: &[&str]) -> Command {
        Command { args: args.iter().map(|&arg| arg.to_owned()).collect(), ..Default::default() }
    }

    fn call(task: &str, command: Command) -> Call {
        Call { task_id: task.into(), kind: Some(Kind::Command(command)), ..Default::default() }
    }

    fn refusal(call: &Call) -> String {
        let world = "node a; node b down; cluster; service w; task w.1 on a running; task w.2 on b running; task w.3";
        place(call, &swarmkit_testing::store(world).view()).map_err(|error| error.to_string()).err().unwrap_or_default()
    }

    #[test]
    fn a_call_goes_to_the_node_of_its_task_while_that_runs() {
        assert_eq!(refusal(&call("w.1", command(&["id"]))), "");
        assert_eq!(refusal(&call("nobody", command(&["id"]))), "task nobody not found");
        assert_eq!(refusal(&call("w.3", command(&["id"]))), "task w.3 is not running: it is NEW");
        assert!(refusal(&call("w.2", command(&["id"]))).ends_with("is down"));
        let attach = Call { task_id: "w.1".into(), kind: Some(Kind::Attach(Attach::default())), ..Default::default() };
        assert_eq!(refusal(&attach), "");
    }

    #[test]
    fn only_what_all_tasks_of_a_node_use_is_asked_of_a_node() {
        let usage = Some(Kind::Usage(UsageQuery::default()));
        let of = |node: &str, kind| Call { node_id: node.into(), kind, ..Default::default() };
        assert_eq!(refusal(&of("a", usage.clone())), "");
        assert_eq!(refusal(&of("x", usage.clone())), "node x not found");
        assert_eq!(refusal(&of("", usage.clone())), "a task must be named");
        assert_eq!(refusal(&of("a", Some(Kind::Attach(Attach::default())))), "a task must be named");
        let both = Call { task_id: "w.1".into(), ..of("a", usage) };
        assert_eq!(refusal(&both), "a task and a node are named");
        assert_eq!(refusal(&of("a", None)), "the call does not say what it asks for");
    }

    #[test]
    fn a_command_that_nothing_could_run_is_refused() {
        let check = |change: &dyn Fn(&mut Command)| {
            let mut command = command(&["id"]);
            change(&mut command);
            refusal(&call("w.1", command))
        };
        assert_eq!(check(&|command| command.args.clear()), "a command must be given");
        assert_eq!(check(&|command| command.args[0].clear()), "a command must be given");
        assert!(check(&|command| command.args.push("x".repeat(COMMAND_BYTES_MAX))).contains("bytes long"));
        assert_eq!(check(&|command| command.user.push('\0')), "the command contains a zero byte");
        for entry in ["NAME", "=value"] {
            let told = check(&|command| command.env.push(entry.into()));
            assert_eq!(told, "a variable is not of the form NAME=value");
        }
        assert_eq!(check(&|command| command.dir = "tmp".into()), "the directory \"tmp\" is not absolute");
        let large = Some(TerminalSize { rows: 70_000, columns: 1 });
        assert_eq!(check(&|command| command.terminal = large), "no terminal has 70000 lines of 1 characters");
    }

    #[test]
    fn a_cluster_may_forbid_commands_and_what_is_used_may_still_be_asked() {
        use swarmkit_api::wire::swarmkit::exec::v1::ExecSettings;
        let mut cluster = swarmkit_testing::cluster();
        std::sync::Arc::make_mut(&mut cluster.spec).exec = Some(ExecSettings { policy: Policy::Deny.into() });
        let store = swarmkit_testing::store("node a; service w; task w.1 on a running");
        use futures_util::FutureExt as _;
        store.update(|tx| tx.create(cluster)).now_or_never().unwrap().unwrap();
        let view = store.view();
        assert_eq!(place(&call("w.1", command(&["id"])), &view), Err(ExecError::Forbidden));
        let usage = Some(Kind::Usage(UsageQuery::default()));
        assert!(place(&Call { task_id: "w.1".into(), kind: usage, ..Default::default() }, &view).is_ok());
    }
}
