//! The commands that the README opens with exist.
use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use cargo_metadata::{Metadata, TargetKind};
use clap::CommandFactory as _;

use super::Finding;
use crate::workspace::root;

/// The command that continuous integration ends with; the README names the very same.
pub(crate) const TEST_COMMAND: &str = "cargo test --workspace";

/// Checks `README.md`.
pub(super) fn run(metadata: &Metadata) -> Result<Vec<Finding>> {
    let path = root().join("README.md");
    if !path.exists() {
        return Ok(vec![Finding { path: "README.md".to_owned(), line: 0, text: "there is none".to_owned() }]);
    }
    let names = |kind: TargetKind| {
        let packages = metadata.workspace_packages();
        let targets = packages.iter().flat_map(|package| package.targets.clone()).collect::<Vec<_>>();
        targets.into_iter().filter(|target| target.kind.contains(&kind)).map(|target| target.name).collect()
    };
    let known = Known {
        bins: names(TargetKind::Bin),
        examples: names(TargetKind::Example),
        packages: metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect(),
        chores: crate::Flags::command().get_subcommands().map(|chore| chore.get_name().to_owned()).collect(),
    };
    Ok(check(&std::fs::read_to_string(path)?, &known, &|path| root().join(path).exists()))
}

/// What a command may name.
#[derive(Debug, Default)]
struct Known {
    bins: BTreeSet<String>,
    examples: BTreeSet<String>,
    packages: BTreeSet<String>,
    chores: BTreeSet<String>,
}

/// What is wrong with the commands of the first code block.
fn check(readme: &str, known: &Known, exists: &dyn Fn(&Path) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line, text| findings.push(Finding { path: "README.md".to_owned(), line, text });
    let commands = first_block(readme);
    if commands.is_empty() {
        find(0, "has no code block with commands".to_owned());
    }
    if !commands.iter().any(|(_, command)| *command == TEST_COMMAND) {
        find(0, format!("its first code block does not say `{TEST_COMMAND}`"));
    }
    for (line, command) in commands {
        for text in wrong_names(command, known, exists) {
            find(line, text);
        }
    }
    findings
}

/// The lines of the first fenced block that are commands, with their numbers.
fn first_block(readme: &str) -> Vec<(usize, &str)> {
    let numbered = readme.lines().enumerate();
    let block = numbered.skip_while(|(_, line)| !line.starts_with("```")).skip(1);
    block
        .take_while(|(_, line)| !line.starts_with("```"))
        .map(|(index, line)| (index + 1, line.split(" # ").next().unwrap_or(line).trim().trim_start_matches("$ ")))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

fn wrong_names(command: &str, known: &Known, exists: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let mut wrong = Vec::new();
    let mut need = |what: &str, name: &str, among: &BTreeSet<String>| {
        if !among.contains(name) {
            wrong.push(format!("there is no {what} `{name}`"));
        }
    };
    for pair in words.windows(2) {
        match pair[0] {
            "--bin" => need("binary", pair[1], &known.bins),
            "--example" => need("example", pair[1], &known.examples),
            "--package" | "-p" => need("package", pair[1], &known.packages),
            "xtask" => need("chore", pair[1], &known.chores),
            _ => {}
        }
    }
    let ours = words.first().is_some_and(|first| *first == "cargo");
    let paths = words.iter().filter(|word| ours && word.contains('/') && !word.contains(':') && !word.starts_with('/'));
    wrong.extend(paths.filter(|path| !exists(Path::new(path))).map(|path| format!("there is no file `{path}`")));
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(readme: &str) -> Vec<String> {
        let one = |name: &str| BTreeSet::from([name.to_owned()]);
        let known =
            Known { bins: one("swarmd"), examples: one("embed"), packages: one("swarmkit"), chores: one("tidy") };
        let findings = check(readme, &known, &|path| path == Path::new("examples/a.yaml"));
        findings.into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn commands_that_exist_pass() {
        let readme = "# Title\n\n```sh\n# try it\n$ cargo run --release --bin swarmd -- dev examples/a.yaml\n\
            cargo test --workspace # all of it\n```\n\n```sh\ncargo run --bin gone\n```\n";
        assert_eq!(texts(readme), Vec::<String>::new());
    }

    #[test]
    fn what_does_not_exist_is_told_with_its_line() {
        let readme = "```\ncargo test --workspace\ncargo run --bin swarmx -- examples/b.yaml\ncargo xtask fly\n```\n";
        assert_eq!(
            texts(readme),
            [
                "README.md:3: there is no binary `swarmx`",
                "README.md:3: there is no file `examples/b.yaml`",
                "README.md:4: there is no chore `fly`",
            ]
        );
    }

    #[test]
    fn the_test_command_is_part_of_it() {
        assert_eq!(
            texts("no commands"),
            [
                "README.md: has no code block with commands",
                "README.md: its first code block does not say `cargo test --workspace`",
            ]
        );
    }
}
