//! `swarmctl` without a cluster.

use assert_cmd::Command;

fn swarmctl(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_swarmctl")).args(args).env_remove("SWARM_SOCKET").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_wrong_call_is_told_with_the_usage_and_fails_with_255() {
    let (code, out, err) = swarmctl(&["service", "inspect"]);
    let expected = "Error: service ID missing\n\nUsage: swarmctl service inspect [OPTIONS] <SERVICE>\n";
    assert_eq!((code, out.as_str(), err.trim_end()), (255, "", expected.trim_end()));
    let (code, _, err) = swarmctl(&["servce"]);
    assert_eq!(code, 255);
    assert!(err.starts_with("Error: unrecognized subcommand 'servce'"), "{err}");
}

#[test]
fn help_goes_to_standard_output_and_succeeds() {
    for args in [&["--help"][..], &[], &["service"], &["service", "create", "--help"]] {
        let (code, out, err) = swarmctl(args);
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        assert!(out.contains("Usage: swarmctl"), "{args:?}: {out}");
    }
}

#[test]
fn the_version_is_told_without_a_cluster() {
    let expected = format!("swarmctl {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(swarmctl(&["version"]), (0, expected.clone(), String::new()));
    assert_eq!(swarmctl(&["--version"]), (0, expected, String::new()));
}

#[test]
fn the_socket_comes_from_the_flag_then_from_the_environment_then_from_the_default() {
    let tried = |flags: &[&str], variable: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_swarmctl"));
        command.args(["node", "ls"]).args(flags).env_remove("SWARM_SOCKET");
        if let Some(socket) = variable {
            command.env("SWARM_SOCKET", socket);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(255));
        String::from_utf8(output.stderr).unwrap().lines().next().unwrap_or_default().to_owned()
    };
    let (a, b) = ("/nowhere/a.sock", "/nowhere/b.sock");
    assert_eq!(tried(&["--socket", a], Some(b)), "Error: cannot reach /nowhere/a.sock: no such file");
    assert_eq!(tried(&[], Some(b)), "Error: cannot reach /nowhere/b.sock: no such file");
    assert!(tried(&[], None).contains("/var/run/swarmd.sock"));
}
