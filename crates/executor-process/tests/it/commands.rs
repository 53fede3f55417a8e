//! Commands in tasks that run.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use swarmkit_executor::{Controller as _, ExecCommand, ExecError, ExecInput, ExecOutput, ExecOutputs, TerminalSize};
use tokio::sync::mpsc;

use crate::world::{Run, World, is_root, is_running, until, within};

fn sh(script: &str) -> ExecCommand {
    ExecCommand { args: ["sh", "-c", script].map(str::to_owned).to_vec(), ..Default::default() }
}

/// A command that runs, and the way to it.
struct Command {
    inputs: mpsc::Sender<ExecInput>,
    outputs: ExecOutputs,
}

/// What became of a command.
#[derive(Debug, PartialEq)]
struct Outcome {
    stdout: String,
    stderr: String,
    code: i32,
}

impl Run {
    async fn begin(&self, command: ExecCommand) -> Command {
        let (inputs, receiver) = mpsc::channel(1);
        let receiver = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
        let outputs = within(self.controller.exec(command, receiver.boxed())).await.unwrap();
        Command { inputs, outputs }
    }

    /// Runs a command to its end.
    async fn ran(&self, command: ExecCommand) -> Outcome {
        self.begin(command).await.outcome().await
    }

    /// Why a command could not be run.
    async fn refusal(&self, command: ExecCommand) -> ExecError {
        let mut command = self.begin(command).await;
        within(command.outputs.next()).await.unwrap().unwrap_err()
    }
}

impl Command {
    async fn next(&mut self) -> ExecOutput {
        within(self.outputs.next()).await.expect("it has not ended").unwrap()
    }

    /// Reads until standard output has this text.
    async fn says(&mut self, text: &str) -> String {
        let mut said = String::new();
        while !said.contains(text) {
            match self.next().await {
                ExecOutput::Stdout(data) => said.push_str(&String::from_utf8_lossy(&data)),
                ExecOutput::Started => {}
                other => panic!("{other:?} before {text:?}, after {said:?}"),
            }
        }
        said
    }

    async fn outcome(mut self) -> Outcome {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            match self.next().await {
                ExecOutput::Started => {}
                ExecOutput::Stdout(data) => stdout.extend_from_slice(&data),
                ExecOutput::Stderr(data) => stderr.extend_from_slice(&data),
                ExecOutput::Exited(code) => {
                    assert!(within(self.outputs.next()).await.is_none(), "nothing comes after the end");
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    return Outcome { stdout: text(&stdout), stderr: text(&stderr), code };
                }
            }
        }
    }

    async fn send(&self, input: ExecInput) {
        within(self.inputs.send(input)).await.unwrap();
    }
}

#[tokio::test]
async fn a_command_runs_as_its_task_does_unless_it_says_otherwise() {
    let world = World::new().await;
    let task = crate::world::task("exec sleep 3600", |container, _| {
        container.env = vec!["A=task".into(), "B=task".into()];
        container.dir = "/tmp".into();
    });
    let run = world.started(task.clone()).await;
    let plain = run.ran(sh("pwd; echo $A $B $SWARMKIT_TASK_ID; cat; echo oh >&2; exit 3")).await;
    let stdout = format!("/tmp\ntask task {}\n", task.id);
    assert_eq!(plain, Outcome { stdout, stderr: "oh\n".into(), code: 3 }, "nothing is on standard input");

    let changed = ExecCommand {
        env: vec!["B=own=1".into(), "SWARMKIT_TASK_ID=other".into()],
        dir: "/".into(),
        ..sh("pwd; echo $A $B $SWARMKIT_TASK_ID")
    };
    assert_eq!(run.ran(changed).await.stdout, format!("/\ntask own=1 {}\n", task.id));
    let user = ExecCommand { user: "12345:54321".into(), ..sh("id -u; id -g; id -G; echo $HOME") };
    if is_root() {
        assert_eq!(run.ran(user).await.stdout, "12345\n54321\n54321\n/\n");
    } else {
        let refused = run.refusal(user).await.to_string();
        assert!(refused.contains("only root can change that"), "{refused}");
    }
    assert!(is_running(run.pid().await), "the task goes on");
    run.removed().await;
}

#[tokio::test]
async fn what_cannot_be_run_is_told_apart() {
    let world = World::new().await;
    let run = world.script("exec sleep 3600").await;
    let command = |program: &str| ExecCommand { args: vec![program.into()], ..Default::default() };
    for (program, there) in [("nonexistent", false), ("/nonexistent/program", false), ("/etc/passwd", true)] {
        match run.refusal(command(program)).await {
            ExecError::NoProgram { is_there, reason } => assert_eq!(is_there, there, "{program}: {reason}"),
            error => panic!("{program}: {error}"),
        }
    }
    let nowhere = ExecCommand { dir: "/nonexistent".into(), ..sh("true") };
    let refused = run.refusal(nowhere).await.to_string();
    assert!(refused.starts_with("directory /nonexistent: "), "{refused}");
    let nobody = ExecCommand { user: "no-such-user".into(), ..sh("true") };
    assert_eq!(run.refusal(nobody).await.to_string(), "no user \"no-such-user\" on this machine");
    within(run.controller.terminate()).await.unwrap();
    assert!(run.wait().await.is_err());
    let over = run.controller.exec(sh("true"), stream::empty().boxed()).await;
    assert_eq!(over.err().unwrap().to_string(), "the task does not run");
    run.removed().await;
}

#[tokio::test]
async fn ten_megabytes_go_through_both_ways_unchanged() {
    const PIECES: usize = 160;
    let world = World::new().await;
    let run = world.script("exec sleep 3600").await;
    let mut command = run.begin(ExecCommand { stdin: true, ..sh("cat") }).await;
    // Every byte occurs, and no two pieces are equal.
    let piece = |number: usize| (0..65_536).map(|at| (at * 31 + at / 256 + number) as u8).collect::<Vec<u8>>();
    let inputs = command.inputs.clone();
    let sending = async {
        for number in 0..PIECES {
            within(inputs.send(ExecInput::Stdin(Bytes::from(piece(number))))).await.unwrap();
        }
        within(inputs.send(ExecInput::End)).await.unwrap();
    };
    let receiving = async {
        let mut received = Vec::new();
        loop {
            match command.next().await {
                ExecOutput::Started => {}
                ExecOutput::Stdout(data) => received.extend_from_slice(&data),
                ExecOutput::Stderr(data) => panic!("{data:?}"),
                ExecOutput::Exited(code) => return (received, code),
            }
        }
    };
    let ((), (received, code)) = tokio::join!(biased; sending, receiving);
    assert_eq!((code, received.len()), (0, PIECES * 65_536));
    assert!(received.chunks(65_536).enumerate().all(|(number, chunk)| chunk == piece(number)));
    run.removed().await;
}

#[tokio::test]
async fn a_terminal_has_the_size_of_the_client_and_follows_it() {
    let world = World::new().await;
    let run = world.script("exec sleep 3600").await;
    let terminal = Some(TerminalSize { rows: 33, columns: 77 });
    let script = "trap 'stty size; exit 7' WINCH; test -t 0 && test -t 1 && test -t 2 && tty && stty size; \
                  echo $TERM; echo ready; while :; do sleep 0.01; done";
    let mut command = run.begin(ExecCommand { stdin: true, terminal, ..sh(script) }).await;
    let said = command.says("ready").await;
    assert!(said.contains("/dev/pts/") && said.contains("33 77\r\n") && said.contains("xterm"), "{said}");
    command.send(ExecInput::Resize(TerminalSize { rows: 50, columns: 132 })).await;
    let ended = command.outcome().await;
    assert!(ended.stdout.contains("50 132"), "{ended:?}");
    assert_eq!(ended.code, 7);

    // What is typed is echoed and read, and an interrupt comes as one.
    let mut command =
        run.begin(ExecCommand { stdin: true, terminal, ..sh("read a; echo got $a; exec sleep 3600") }).await;
    command.send(ExecInput::Stdin(Bytes::from_static(b"hello\n"))).await;
    command.says("got hello").await;
    command.send(ExecInput::Stdin(Bytes::from_static(b"\x03"))).await;
    assert_eq!(command.outcome().await.code, 130);
    run.removed().await;
}

#[tokio::test]
async fn signals_reach_the_command_and_not_its_task() {
    let world = World::new().await;
    let run = world.script("trap 'exit 9' USR1; while :; do sleep 0.05; done").await;
    let mut command = run.begin(sh("trap 'exit 42' USR1; echo ready; while :; do sleep 0.01; done")).await;
    command.says("ready").await;
    command.send(ExecInput::Signal(10)).await;
    assert_eq!(command.outcome().await.code, 42);
    let mut command = run.begin(sh("echo ready; exec sleep 3600")).await;
    command.says("ready").await;
    command.send(ExecInput::Signal(15)).await;
    assert_eq!(command.outcome().await.code, 143);
    assert!(is_running(run.pid().await));
    run.removed().await;
}

#[tokio::test]
async fn a_command_that_nobody_wants_any_more_is_ended_with_all_that_it_started() {
    let world = World::new().await;
    let run = world.script("exec sleep 3600").await;
    let file = world.dir.path().join("hung-up");
    let script =
        format!("trap 'echo x >{}; exit' HUP; sleep 3600 & echo $$ $!; while :; do sleep 0.01; done", file.display());
    let mut command = run.begin(sh(&script)).await;
    let said = command.says("\n").await;
    let pids: Vec<i32> = said.split_ascii_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.iter().all(|pid| is_running(*pid)));
    drop(command);
    until("all is ended", || pids.iter().all(|pid| !is_running(*pid))).await;
    assert!(file.exists(), "it was asked first");
    assert!(is_running(run.pid().await), "the task goes on");
    run.removed().await;
}

#[tokio::test]
async fn what_a_command_leaves_behind_ends_with_it() {
    let world = World::new().await;
    let run = world.script("exec sleep 3600").await;
    let ended = run.ran(sh("sleep 3600 & setsid sleep 3600 & echo $!; exit 5")).await;
    assert_eq!(ended.code, 5);
    let left = ended.stdout.trim().parse().unwrap();
    assert!(!is_running(left));
    assert_eq!(crate::world::processes_of(&run.task).len(), 1, "only the task is left");
    run.removed().await;
}

#[tokio::test]
async fn when_the_task_ends_its_commands_end_too() {
    let world = World::new().await;
    let run = world.script("exec sleep 3600").await;
    let mut command = run.begin(sh("echo ready; trap '' HUP TERM; exec sleep 3600")).await;
    command.says("ready").await;
    within(run.controller.shutdown()).await.unwrap();
    assert_eq!(command.outcome().await.code, 137);
    run.removed().await;
}

#[tokio::test]
async fn a_client_that_stalls_stalls_the_command() {
    let world = World::new().await;
    let run = world.script("exec sleep 3600").await;
    let mut command = run.begin(sh("echo $$; exec yes")).await;
    let said = command.says("\n").await;
    let pid: i32 = said.split_ascii_whitespace().next().unwrap().parse().unwrap();
    let written = || {
        let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
        let line = io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
        line.parse::<u64>().unwrap()
    };
    // Nobody reads: it comes to a halt when the pipes are full, with far less than it would write in that time.
    let mut before = written();
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = written();
        if now == before {
            break;
        }
        before = now;
    }
    assert!(before < 1024 * 1024, "{before} bytes are under way");
    drop(command);
    until("it is ended", || !is_running(pid)).await;
    run.removed().await;
}

#[tokio::test]
async fn a_command_in_an_isolated_task_sees_what_the_task_sees_and_ends_with_it() {
    if !crate::isolated::is_possible().await || !crate::image::busybox_is_there() {
        return;
    }
    let world = World::new().await;
    crate::image::busybox_root(&world.dir.path().join("images/box"));
    let image = crate::world::task("echo of-the-task > /tmp/file; echo ready; exec sleep 3600", |spec, _| {
        spec.image = "swarmkit.process/image/box".into();
        spec.hostname = "box".into();
    });
    let run = world.started(image).await;
    run.says("ready").await;
    let inside = run.ran(sh("hostname; cat /tmp/file; cat; echo oh >&2; exit 3")).await;
    assert_eq!(inside, Outcome { stdout: "box\nof-the-task\n".into(), stderr: "oh\n".into(), code: 3 });
    let killed = run.ran(sh("kill -9 $$")).await;
    assert_eq!(killed.code, 137);
    if is_root() {
        let user = ExecCommand { user: "web".into(), ..sh("id -u; echo $HOME") };
        assert_eq!(run.ran(user).await.stdout, "33\n/srv\n", "users are those of the image");
    }
    let missing = ExecCommand { args: vec!["no-such-program".into()], ..Default::default() };
    assert!(matches!(run.refusal(missing).await, ExecError::NoProgram { is_there: false, .. }));

    let mut cat = run.begin(ExecCommand { stdin: true, ..sh("cat; echo end") }).await;
    cat.send(ExecInput::Stdin(Bytes::from_static(b"hello\n"))).await;
    cat.says("hello\n").await;
    cat.send(ExecInput::End).await;
    assert_eq!(cat.outcome().await.stdout, "end\n");

    let size = TerminalSize { rows: 31, columns: 97 };
    let terminal = ExecCommand {
        stdin: true,
        terminal: Some(size),
        ..sh("test -t 0 && echo terminal; read line; echo got $line")
    };
    let mut terminal = run.begin(terminal).await;
    terminal.says("terminal").await;
    terminal.send(ExecInput::Stdin(Bytes::from_static(b"line\n"))).await;
    terminal.says("got line").await;
    assert_eq!(terminal.outcome().await.code, 0);

    let mut trapping = run.begin(sh("trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done")).await;
    trapping.says("ready").await;
    trapping.send(ExecInput::Signal(rustix::process::Signal::USR1.as_raw())).await;
    assert_eq!(trapping.outcome().await.code, 7);

    let mut endless = run.begin(sh("echo ready; sleep 3600")).await;
    endless.says("ready").await;
    within(run.controller.terminate()).await.unwrap();
    assert_eq!(endless.outcome().await.code, 137, "it ends with its task");
    run.removed().await;
}
