//! `cargo xtask setup`: what this machine lacks to build, test and run the project, and how to get it.
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::test::has_nextest;
use crate::workspace::{cargo, metadata};

/// Open files that a node with some hundreds of tasks needs.
const OPEN_FILES: u64 = 4096;

/// What one check found.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fine(String),
    /// Nothing can be built or tested without it.
    Missing {
        why: String,
        get: String,
    },
    /// It is good to have.
    Optional {
        why: String,
        get: String,
    },
}

/// Prints one line for each check; an error if something is missing that is needed.
pub(crate) fn run() -> Result<()> {
    let checks = [
        ("Rust", rust()?),
        ("rustfmt", component("fmt", "rustfmt")),
        ("clippy", component("clippy", "clippy")),
        ("C compiler", c_compiler()),
        ("control groups", control_groups(Path::new("/sys/fs/cgroup"))),
        ("open files", open_files(&fs::read_to_string("/proc/self/limits").unwrap_or_default())),
        ("cargo-nextest", tool(has_nextest(), "runs tests in parallel, each in its own process", "cargo-nextest")),
        ("cargo-deny", tool(has("cargo", &["deny", "--version"]), "checks licences and advisories", "cargo-deny")),
    ];
    let mut missing = 0;
    for (name, verdict) in checks {
        match verdict {
            Verdict::Fine(what) => println!("ok        {name}: {what}"),
            Verdict::Optional { why, get } => println!("optional  {name}: {why}\n          {get}"),
            Verdict::Missing { why, get } => {
                missing += 1;
                println!("missing   {name}: {why}\n          {get}");
            }
        }
    }
    match missing {
        0 => Ok(()),
        1 => bail!("one thing is missing"),
        count => bail!("{count} things are missing"),
    }
}

/// The compiler is at least as new as the manifests say.
fn rust() -> Result<Verdict> {
    let wanted = metadata()?.workspace_packages().iter().filter_map(|package| package.rust_version.clone()).max();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output()?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    Ok(judge_rust(&version, wanted.map(|wanted| (wanted.major, wanted.minor))))
}

fn judge_rust(version: &str, wanted: Option<(u64, u64)>) -> Verdict {
    let Some((major, minor)) = wanted else { return Verdict::Fine(version.to_owned()) };
    if numbers(version).is_some_and(|found| found >= (major, minor)) {
        return Verdict::Fine(version.to_owned());
    }
    Verdict::Missing {
        why: format!("{version}, but {major}.{minor} is needed"),
        get: "rustup update stable".to_owned(),
    }
}

/// The first two numbers of `rustc 1.95.0 (…)`.
fn numbers(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.split_whitespace().nth(1)?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn component(subcommand: &str, component: &str) -> Verdict {
    let found = cargo([subcommand, "--version"]).output().is_ok_and(|output| output.status.success());
    if found {
        return Verdict::Fine("installed".to_owned());
    }
    Verdict::Missing {
        why: "continuous integration runs it".to_owned(),
        get: format!("rustup component add {component}"),
    }
}

fn c_compiler() -> Verdict {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    if has(&compiler, &["--version"]) {
        return Verdict::Fine(format!("`{compiler}`"));
    }
    Verdict::Missing {
        why: format!("there is no `{compiler}`; cryptography and linking need one"),
        get: install("gcc"),
    }
}

/// The command that installs a package of the system.
fn install(package: &str) -> String {
    const MANAGERS: [(&str, &str); 5] = [
        ("apt-get", "apt-get install -y"),
        ("dnf", "dnf install -y"),
        ("pacman", "pacman -S"),
        ("apk", "apk add"),
        ("brew", "brew install"),
    ];
    let manager = MANAGERS.iter().find(|(program, _)| has(program, &["--version"]));
    manager.map_or_else(|| format!("install {package}"), |(_, command)| format!("{command} {package}"))
}

/// Whether limits of tasks can be enforced here: by the second version of control groups or by the first.
fn control_groups(root: &Path) -> Verdict {
    let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    let why = if controllers.split_whitespace().any(|controller| controller == "memory") {
        return Verdict::Fine(format!("version 2 ({})", controllers.trim()));
    } else if root.join("memory").is_dir() {
        return Verdict::Fine("version 1".to_owned());
    } else {
        "limits of memory and processor time are not enforced on tasks".to_owned()
    };
    Verdict::Optional { why, get: "use a Linux machine with control groups mounted at /sys/fs/cgroup".to_owned() }
}

/// The limit of open files, out of `/proc/self/limits`.
fn open_files(limits: &str) -> Verdict {
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let Some(soft) = line.and_then(|line| line.split_whitespace().nth(3)) else {
        return Verdict::Fine("not known here".to_owned());
    };
    if soft == "unlimited" || soft.parse().is_ok_and(|soft: u64| soft >= OPEN_FILES) {
        return Verdict::Fine(soft.to_owned());
    }
    Verdict::Optional {
        why: format!("{soft}; a node with hundreds of tasks wants {OPEN_FILES}"),
        get: format!("ulimit -n {OPEN_FILES}"),
    }
}

fn tool(found: bool, why: &str, name: &str) -> Verdict {
    if found {
        return Verdict::Fine("installed".to_owned());
    }
    Verdict::Optional { why: why.to_owned(), get: format!("cargo install --locked {name}") }
}

fn has(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_compiler_is_told_with_what_is_needed() {
        assert!(matches!(judge_rust("rustc 1.95.0 (59807616e 2026-04-14)", Some((1, 95))), Verdict::Fine(_)));
        assert!(matches!(judge_rust("rustc 2.0.0", Some((1, 95))), Verdict::Fine(_)));
        assert_eq!(
            judge_rust("rustc 1.94.1 (x)", Some((1, 95))),
            Verdict::Missing {
                why: "rustc 1.94.1 (x), but 1.95 is needed".to_owned(),
                get: "rustup update stable".to_owned()
            }
        );
        assert!(matches!(judge_rust("", Some((1, 95))), Verdict::Missing { .. }));
    }

    #[test]
    fn few_open_files_are_told() {
        let limits =
            |soft: &str| format!("Limit  Soft Limit  Hard Limit\nMax open files            {soft}    20000    files\n");
        assert_eq!(open_files(&limits("20000")), Verdict::Fine("20000".to_owned()));
        assert_eq!(open_files(&limits("unlimited")), Verdict::Fine("unlimited".to_owned()));
        assert!(matches!(open_files(&limits("256")), Verdict::Optional { .. }));
        assert_eq!(open_files(""), Verdict::Fine("not known here".to_owned()));
    }
}
