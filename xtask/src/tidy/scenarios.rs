//! Every scenario of `docs/scenarios` has a test that exists, or a decision that says why it has none.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use super::Finding;
use crate::workspace::{files, relative};

/// Where the lists lie, below the root.
const FOLDER: &str = "docs/scenarios";

/// How an item begins that has a decision in place of a test.
const NOT_OURS: &str = "Not ours: ";

/// Checks every list against the tests below `root`.
pub(super) fn run(root: &Path) -> Result<Vec<Finding>> {
    let lists = root.join(FOLDER);
    if !lists.is_dir() {
        return Ok(Vec::new());
    }
    let mut tests = Tests::default();
    for path in files(root, &[".rs"])? {
        tests.add(&relative(&path), &std::fs::read_to_string(&path)?);
    }
    let mut findings = Vec::new();
    for path in files(&lists, &[".md"])? {
        let text = std::fs::read_to_string(&path)?;
        findings.extend(check(&relative(&path), &text, &tests, &|link| lists.join(link).is_file()));
    }
    Ok(findings)
}

/// The tests of the workspace.
#[derive(Debug, Default)]
struct Tests {
    /// By the folder of their crate and their own name: the modules that they may be said to lie in, one set for each
    /// file that has a test of that name.
    found: BTreeMap<String, BTreeMap<String, Vec<BTreeSet<String>>>>,
}

impl Tests {
    /// Takes up the tests of one file.
    fn add(&mut self, path: &str, text: &str) {
        let folders = path.strip_prefix("crates/").unwrap_or(path);
        let Some((name, inside)) = folders.split_once('/') else { return };
        let modules = || inside.split('/').map(|part| part.trim_end_matches(".rs").to_owned());
        let inline = text.lines().filter_map(|line| line.trim().strip_prefix("mod ")?.strip_suffix(" {"));
        let places: BTreeSet<_> = modules().chain(inline.map(str::to_owned)).collect();
        let tests = self.found.entry(name.to_owned()).or_default();
        for test in names(text) {
            tests.entry(test.to_owned()).or_default().push(places.clone());
        }
    }

    /// What is wrong with `crate::perhaps::modules::name`.
    fn wrong(&self, named: &str) -> Option<String> {
        let parts: Vec<_> = named.split("::").collect();
        let [folder, modules @ .., name] = parts.as_slice() else { return Some(format!("`{named}` names no test")) };
        let Some(tests) = self.found.get(*folder) else { return Some(format!("there is no crate `{folder}`")) };
        let Some(files) = tests.get(*name) else { return Some(format!("{folder} has no test `{name}`")) };
        let lies_there = |places: &BTreeSet<String>| modules.iter().all(|module| places.contains(*module));
        (!files.iter().any(lies_there)).then(|| format!("{folder} has `{name}`, but not in {}", modules.join("::")))
    }
}

/// The names of the tests in a file: of every function that a `#[test]` stands before, of whatever runtime.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?.split(['(', '<']).next()?;
        std::mem::take(&mut is_test).then_some(name)
    })
}

/// One item of a list, its lines joined.
#[derive(Debug)]
struct Item {
    line: usize,
    text: String,
}

fn items(text: &str) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        if let Some(begun) = line.strip_prefix("- ") {
            items.push(Item { line: index + 1, text: begun.trim().to_owned() });
            open = true;
        } else if let Some(item) = items.last_mut().filter(|_| open && line.starts_with(' ')) {
            item.text = format!("{} {}", item.text, line.trim());
        } else {
            open = false;
        }
    }
    items
}

/// What is wrong with one list. `exists` tells whether a link leads to a file.
fn check(path: &str, text: &str, tests: &Tests, exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let items = items(text);
    let mut findings = Vec::new();
    let mut find = |line, text: &str| findings.push(Finding { path: path.to_owned(), line, text: text.to_owned() });
    if items.is_empty() {
        find(0, "lists no scenario");
    }
    for item in items {
        let links: Vec<_> = item.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
        for link in links.iter().filter(|link| !exists(link)) {
            find(item.line, &format!("there is no file {link}"));
        }
        let named: Vec<_> = item.text.split('`').skip(1).step_by(2).filter(|code| code.contains("::")).collect();
        named.iter().filter_map(|named| tests.wrong(named)).for_each(|wrong| find(item.line, &wrong));
        let is_decided = links.iter().any(|link| link.starts_with("../decisions/"));
        match item.text.strip_prefix(NOT_OURS) {
            Some(_) if !is_decided => find(item.line, "what is not ours is said in a decision: link it"),
            None if named.is_empty() => find(item.line, "names no test"),
            _ => {}
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: &str = "\
//! Tests.
mod ways {
    #[tokio::test(start_paused = true)]
    #[allow(deprecated)]
    async fn a_watch_ends() {}
}
#[test]
fn a_name_is_taken_once() {}
fn helper() {}
";

    fn texts(list: &str) -> Vec<String> {
        let mut tests = Tests::default();
        tests.add("crates/store/tests/it/rules.rs", STORE);
        tests.add("xtask/src/tidy.rs", "#[test]\nfn of_a_chore() {}\n");
        let findings = check("docs/scenarios/a.md", list, &tests, &|link| link == "../decisions/001-a.md");
        findings.into_iter().map(|finding| format!("{}: {}", finding.line, finding.text)).collect()
    }

    #[test]
    fn items_that_name_tests_pass_with_and_without_modules() {
        let list = "# Store\n\nOf `some::path`.\n\n- A name: `store::a_name_is_taken_once`.\n\
            - A watch of `All` things,\n  on two lines: `store::rules::a_name_is_taken_once`,\n  \
            `store::it::ways::a_watch_ends`.\n\n- A chore: `xtask::of_a_chore`.\n";
        assert_eq!(texts(list), Vec::<String>::new());
    }

    #[test]
    fn a_test_that_is_not_there_is_told() {
        assert_eq!(texts("- A: `store::a_name_is_taken_twice`.\n"), ["1: store has no test `a_name_is_taken_twice`"]);
        assert_eq!(texts("- A: `store::helper`.\n"), ["1: store has no test `helper`"]);
        assert_eq!(texts("\n- A: `shop::a_watch_ends`.\n"), ["2: there is no crate `shop`"]);
        let elsewhere = "- A,\n  B: `store::a_watch_ends`, `store::find::a_watch_ends`.\n";
        assert_eq!(texts(elsewhere), ["1: store has `a_watch_ends`, but not in find"]);
    }

    #[test]
    fn an_item_without_a_test_is_told() {
        assert_eq!(texts("- A name.\n- Another: `All`.\n"), ["1: names no test", "2: names no test"]);
        assert_eq!(texts("- A, see [why](../decisions/001-a.md).\n"), ["1: names no test"]);
        assert_eq!(texts("Nothing.\n"), ["0: lists no scenario"]);
    }

    #[test]
    fn what_is_not_ours_needs_a_decision_that_exists() {
        let unlinked = ["1: what is not ours is said in a decision: link it"];
        assert_eq!(texts("- Not ours: A — slow.\n"), unlinked);
        assert_eq!(texts("- Not ours: A — slow,\n  as `store::a_watch_ends` shows.\n"), unlinked);
        assert!(texts("- Not ours: A — slow ([decision](../decisions/001-a.md)).\n").is_empty());
        let gone = "- Not ours: A — slow ([decision](../decisions/002-b.md)).\n";
        assert_eq!(texts(gone), ["1: there is no file ../decisions/002-b.md"]);
    }
}
