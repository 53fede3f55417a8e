//! A crate depends only on crates of lower floors.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use cargo_metadata::{DependencyKind, Metadata};

use super::Finding;

/// The floor of each crate, by the name of its folder. Side crates stand beside the house: they may look at every floor,
/// and no floor may lean on them.
const FLOORS: &[(Floor, &[&str])] = &[
    (Floor::Number(0), &["api", "runtime", "schedule"]),
    (Floor::Number(1), &["store", "executor", "ca", "template"]),
    (Floor::Number(2), &["rpc", "external-ca", "secret-drivers", "scheduler", "orchestrator", "allocator"]),
    (
        Floor::Number(3),
        &[
            "rebalancer",
            "overlay-networks",
            "raft",
            "issuer",
            "dispatcher",
            "exec",
            "control",
            "csi",
            "agent",
            "executor-process",
            "executor-docker",
        ],
    ),
    (Floor::Number(4), &["manager"]),
    (Floor::Number(5), &["node"]),
    (Floor::Number(6), &["swarmkit"]),
    (Floor::Number(7), &["cli"]),
    (Floor::Side, &["sim", "testing", "bench", "torture", "xtask"]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Floor {
    Number(u8),
    Side,
}

/// One crate and what it depends on, by folder names.
#[derive(Debug, Default)]
pub(super) struct Crate {
    manifest: String,
    needs: BTreeSet<String>,
    needs_for_tests: BTreeSet<String>,
}

/// The crates of the workspace, by the name of their folder.
pub(super) fn crates(metadata: &Metadata) -> Result<BTreeMap<String, Crate>> {
    let packages = metadata.workspace_packages();
    let folder = |name: &str| {
        let package = packages.iter().find(|package| package.name.as_str() == name)?;
        package.manifest_path.parent()?.file_name().map(ToOwned::to_owned)
    };
    let mut crates = BTreeMap::new();
    for package in &packages {
        let mut one =
            Crate { manifest: crate::workspace::relative(package.manifest_path.as_std_path()), ..Crate::default() };
        for dependency in &package.dependencies {
            let Some(name) = folder(&dependency.name) else { continue };
            match dependency.kind {
                DependencyKind::Development => one.needs_for_tests.insert(name),
                _ => one.needs.insert(name),
            };
        }
        if let Some(name) = folder(&package.name) {
            crates.insert(name, one);
        }
    }
    Ok(crates)
}

/// The dependencies that go up or sideways, and those of tests that come back to their own crate.
pub(super) fn check(crates: &BTreeMap<String, Crate>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, one) in crates {
        let mut find = |text: String| findings.push(Finding { path: one.manifest.clone(), line: 0, text });
        let Some(floor) = floor(name) else {
            find(format!("{name} has no floor: give it one in xtask/src/tidy/floors.rs"));
            continue;
        };
        for need in &one.needs {
            match (floor, self::floor(need)) {
                (Floor::Side, _) | (_, None) => {}
                (_, Some(Floor::Side)) => find(format!("{name} leans on {need}, which stands beside the house")),
                (Floor::Number(own), Some(Floor::Number(other))) if other >= own => {
                    find(format!("{name} is on floor {own} and depends on {need} of floor {other}"));
                }
                (Floor::Number(_), Some(Floor::Number(_))) => {}
            }
        }
        // Side crates are exempt: integration tests may use what is built on their crate.
        for need in one.needs_for_tests.iter().filter(|need| self::floor(need) != Some(Floor::Side)) {
            if reaches(crates, need, name) {
                find(format!("the tests of {name} depend on {need}, which depends on {name}: two copies of its types"));
            }
        }
    }
    findings
}

fn floor(name: &str) -> Option<Floor> {
    FLOORS.iter().find(|(_, names)| names.contains(&name)).map(|(floor, _)| *floor)
}

/// Whether `from` depends on `to`, directly or through others.
fn reaches(crates: &BTreeMap<String, Crate>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(name) = next.pop() {
        if name == to {
            return true;
        }
        if let Some(one) = crates.get(name).filter(|_| seen.insert(name)) {
            next.extend(one.needs.iter().map(String::as_str));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name: needs; needs for tests` per line, to the texts of the findings.
    fn check_story(story: &str) -> Vec<String> {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>();
        let crates = story.lines().map(|line| {
            let (name, rest) = line.trim().split_once(':').expect("a name");
            let (needs, needs_for_tests) = rest.split_once(';').unwrap_or((rest, ""));
            let one = Crate { manifest: String::new(), needs: words(needs), needs_for_tests: words(needs_for_tests) };
            (name.to_owned(), one)
        });
        check(&crates.collect()).into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn lower_floors_may_be_used() {
        assert!(check_story("api:\nstore: api\ncli: store api").is_empty());
    }

    #[test]
    fn higher_and_equal_floors_may_not() {
        assert_eq!(check_story("api: runtime\nruntime:"), ["api is on floor 0 and depends on runtime of floor 0"]);
        assert_eq!(check_story("store: raft\nraft:"), ["store is on floor 1 and depends on raft of floor 3"]);
    }

    #[test]
    fn a_floor_does_not_lean_on_a_side_crate_but_its_tests_may() {
        assert_eq!(
            check_story("store: testing\ntesting: api\napi:"),
            ["store leans on testing, which stands beside the house"]
        );
        assert!(check_story("scheduler:; testing\ntesting: api\napi:").is_empty());
    }

    #[test]
    fn tests_may_look_up_but_not_in_a_circle() {
        assert!(check_story("node:; executor-process\nexecutor-process:").is_empty());
        assert_eq!(
            check_story("store:; node\nnode: raft\nraft: store"),
            ["the tests of store depend on node, which depends on store: two copies of its types"]
        );
        assert!(check_story("store:; testing\ntesting: store").is_empty());
    }

    #[test]
    fn a_crate_without_a_floor_is_told() {
        assert_eq!(check_story("attic:"), ["attic has no floor: give it one in xtask/src/tidy/floors.rs"]);
    }
}
