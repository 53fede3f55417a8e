//! What source files may not hold, and what they must open with.
use std::path::Path;

use super::Finding;

/// What is banned from code, why, and where it is at home nevertheless.
struct Ban {
    pattern: &'static str,
    instead: &'static str,
    /// Applies to tests as well.
    in_tests: bool,
    /// Applies to examples in comments as well.
    in_examples: bool,
    /// Beginnings of paths where it is allowed.
    home: &'static [&'static str],
}

impl Ban {
    fn applies(&self, path: &str, line: &Line<'_>) -> bool {
        let spared = (line.is_test && !self.in_tests) || (line.is_example && !self.in_examples);
        let is_program = self.home == PROGRAMS && path.contains("/src/bin/");
        !spared && !is_program && !self.home.iter().any(|home| path.starts_with(home))
    }
}

const NOWHERE: &[&str] = &[];

/// Programs and tools print, read real time and start threads; what runs inside a node does not.
const PROGRAMS: &[&str] =
    &["crates/cli/", "crates/bench/", "crates/torture/", "crates/swarmkit/examples/", "examples/", "xtask/"];

/// The one crate that hands time and tasks to all others, and the programs.
const SEAMS: &[&str] = &[
    "crates/runtime/",
    "crates/cli/",
    "crates/bench/",
    "crates/torture/",
    SIM,
    "crates/swarmkit/examples/",
    "examples/",
    "xtask/",
];

/// The program that runs simulations; what is simulated is as strict as everything else.
const SIM: &str = "crates/sim/src/bin/";

/// Where waiting may block: programs, and the executor, which has to do with the kernel's processes.
const BLOCKING: &[&str] =
    &["crates/cli/", "crates/bench/", "crates/torture/", SIM, "crates/executor-process/", "xtask/"];

const fn ban(pattern: &'static str, instead: &'static str, home: &'static [&'static str]) -> Ban {
    Ban { pattern, instead, in_tests: false, in_examples: true, home }
}

const fn ban_from_libraries(pattern: &'static str, instead: &'static str) -> Ban {
    Ban { pattern, instead, in_tests: false, in_examples: false, home: PROGRAMS }
}

const fn ban_everywhere(pattern: &'static str, instead: &'static str) -> Ban {
    Ban { pattern, instead, in_tests: true, in_examples: true, home: NOWHERE }
}

/// Clippy knows most of these too, but sees neither examples in comments, nor macros that nobody expands, nor code
/// that is not compiled for this machine.
const BANS: &[Ban] = &[
    ban("tokio::spawn(", "spawn through runtime::Crew or runtime::Spawner", SEAMS),
    ban("tokio::task::spawn", "spawn through runtime::Crew or runtime::Spawner", SEAMS),
    ban("thread::spawn(", "threads belong behind a seam that can be simulated", SEAMS),
    ban("thread::sleep(", "wait for what should happen, or use tokio's time", BLOCKING),
    ban("SystemTime::now(", "use runtime::Env::now", SEAMS),
    ban("std::time::Instant", "use tokio::time::Instant or runtime::Env", SEAMS),
    ban("rand::rng(", "use runtime::Env::rng", SEAMS),
    ban("unbounded_channel(", "every queue is bounded and its bound has a name", NOWHERE),
    ban_from_libraries("println!(", "libraries do not print: use tracing"),
    ban_from_libraries("eprint!(", "libraries do not print: use tracing"),
    ban_everywhere("todo!(", "finish it"),
    ban_everywhere("unimplemented!(", "finish it"),
    ban_everywhere("dbg!(", "take it out"),
    ban_everywhere("#[ignore", "a test that does not run is no test"),
    ban_everywhere("#[should_panic", "assert on the error instead"),
];

/// Words that announce unfinished work; a file has none of them, in comments or elsewhere.
const MARKS: [&str; 3] = ["TODO", "FIXME", "XXX"];

/// What is wrong with one source file.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if path.contains("/src/generated/") || path == "xtask/src/tidy/sources.rs" {
        return findings; // made by generators, and the file that has to name what it looks for
    }
    let mut find = |line: usize, text: String| findings.push(Finding { path: path.to_owned(), line, text });
    if !opens_with_doc(text) {
        find(1, "a module opens with `//!`: what it is for".to_owned());
    }
    if path.ends_with("/src/lib.rs") && !text.lines().any(|line| line.trim_end() == "//! # Invariants") {
        find(0, "lib.rs has no `# Invariants`".to_owned());
    }
    for line in lines(text, is_test_file(path)) {
        for mark in MARKS.iter().filter(|mark| has_word(line.text, mark)) {
            find(line.number, format!("{mark}: finish it, or open an issue"));
        }
        if line.is_prose {
            continue;
        }
        for ban in BANS {
            if ban.applies(path, &line) && line.text.contains(ban.pattern) {
                find(line.number, format!("`{}` is banned here: {}", ban.pattern.trim_end_matches('('), ban.instead));
            }
        }
        if unbiased_select(text, &line) {
            find(line.number, "`select!` without `biased;`: the order of its branches must not be chance".to_owned());
        }
    }
    findings
}

/// The beginnings of paths that exist only on the machine that runs this: where the checkout lies, and the home folder.
pub(super) fn machine_paths(root: &Path, home: Option<&Path>) -> Vec<String> {
    // Folders that are on every machine say nothing about this one.
    const COMMON: [&str; 9] = ["/", "/tmp", "/home", "/root", "/usr", "/var", "/opt", "/srv", "/mnt"];
    let paths = root.ancestors().chain(home).map(|path| path.display().to_string());
    let mut paths: Vec<_> =
        paths.filter(|path| !COMMON.contains(&path.as_str())).map(|path| format!("{path}/")).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// The lines that name a path of this machine.
pub(super) fn check_machine_paths(path: &str, text: &str, forbidden: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for found in forbidden.iter().filter(|forbidden| names_path(line, forbidden)) {
            let text = format!("{found} is a path of one machine");
            findings.push(Finding { path: path.to_owned(), line: index + 1, text });
        }
    }
    findings
}

/// Whether the path begins there, rather than being the tail of a longer one.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && !matches!(before, '.' | '_' | '-' | '}' | '/' | '~'))
    })
}

/// One line, and what part of the file it belongs to.
struct Line<'a> {
    number: usize,
    text: &'a str,
    /// A comment that is not an example.
    is_prose: bool,
    /// An example in a doc comment.
    is_example: bool,
    is_test: bool,
}

/// The lines of a file. Examples in doc comments count as code, blocks under `#[cfg(test)]` as tests.
fn lines(text: &str, is_test_file: bool) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut in_example = false;
    let mut awaits_block = false;
    let mut block_end: Option<String> = None;
    for (index, text) in text.lines().enumerate() {
        let trimmed = text.trim_start();
        let indent = &text[..text.len() - trimmed.len()];
        let doc = trimmed.strip_prefix("///").or_else(|| trimmed.strip_prefix("//!"));
        if doc.is_some_and(|doc| doc.trim_start().starts_with("```")) {
            in_example = !in_example;
        }
        let is_example = doc.is_some() && in_example;
        let is_prose = trimmed.starts_with("//") && !is_example;
        let in_block = block_end.is_some() || awaits_block;
        lines.push(Line { number: index + 1, text, is_prose, is_example, is_test: is_test_file || in_block });
        if block_end.as_deref() == Some(text) {
            block_end = None;
        } else if block_end.is_none() {
            if trimmed.starts_with("#[cfg(test)]") || trimmed.starts_with("#[cfg(all(test") {
                awaits_block = true;
            } else if awaits_block && text.trim_end().ends_with('{') {
                (awaits_block, block_end) = (false, Some(format!("{indent}}}")));
            } else if awaits_block && text.trim_end().ends_with([';', '}']) {
                awaits_block = false;
            }
        }
    }
    lines
}

fn is_test_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name == "tests.rs"
        || name.ends_with("_tests.rs")
        || ["/tests/", "/benches/"].iter().any(|folder| path.contains(folder))
        || ["crates/testing/", "crates/sim/"].iter().any(|side| path.starts_with(side))
}

fn opens_with_doc(text: &str) -> bool {
    text.lines().find(|line| !line.trim().is_empty()).is_some_and(|line| line.starts_with("//!"))
}

fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let letter = |c: char| c.is_alphanumeric() || c == '_';
        !text[..at].ends_with(letter) && !text[at + word.len()..].starts_with(letter)
    })
}

/// Whether the line opens a `select!` whose first word is not `biased;`.
fn unbiased_select(text: &str, line: &Line<'_>) -> bool {
    let Some(at) = line.text.find("select!") else { return false };
    let same = line.text[at..].split_once('{').map_or("", |(_, rest)| rest).trim();
    let first = if same.is_empty() { text.lines().nth(line.number).unwrap_or_default().trim() } else { same };
    !first.trim_start_matches("///").trim_start_matches("//!").trim().starts_with("biased;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(path: &str, text: &str) -> Vec<String> {
        check(path, text).into_iter().map(|finding| format!("{}: {}", finding.line, finding.text)).collect()
    }

    #[test]
    fn a_module_opens_with_what_it_is_for() {
        assert!(texts("crates/a/src/b.rs", "//! Good.\nfn f() {}\n").is_empty());
        assert_eq!(texts("crates/a/src/b.rs", "fn f() {}\n"), ["1: a module opens with `//!`: what it is for"]);
    }

    #[test]
    fn a_crate_states_its_invariants() {
        assert_eq!(texts("crates/a/src/lib.rs", "//! Good.\n"), ["0: lib.rs has no `# Invariants`"]);
        assert!(texts("crates/a/src/lib.rs", "//! Good.\n//!\n//! # Invariants\n").is_empty());
    }

    #[test]
    fn a_banned_call_is_told_in_code_and_in_examples_but_not_in_prose() {
        let banned = ["2: `SystemTime::now` is banned here: use runtime::Env::now"];
        assert_eq!(texts("crates/a/src/b.rs", "//! D.\nlet t = SystemTime::now();\n"), banned);
        assert!(texts("crates/a/src/b.rs", "//! D.\n// not SystemTime::now() because\n").is_empty());
        let example = "//! D.\n/// ```\n/// SystemTime::now();\n/// ```\n/// SystemTime::now()\n";
        assert_eq!(texts("crates/a/src/b.rs", example), ["3: `SystemTime::now` is banned here: use runtime::Env::now"]);
    }

    #[test]
    fn a_seam_may_call_what_others_may_not() {
        assert!(texts("crates/runtime/src/env.rs", "//! D.\nSystemTime::now();\n").is_empty());
        assert!(texts("crates/cli/src/ctl.rs", "//! D.\nprintln!(\"x\");\n").is_empty());
        assert!(texts("crates/store/src/bin/tool.rs", "//! D.\nprintln!(\"x\");\n").is_empty());
        assert_eq!(texts("crates/store/src/a.rs", "//! D.\neprintln!(\"x\");\n").len(), 1);
        assert!(texts("crates/store/src/a.rs", "//! D.\n//! ```\n//! println!(\"x\");\n//! ```\n").is_empty());
    }

    #[test]
    fn tests_may_spawn_but_not_be_ignored() {
        let file =
            "//! D.\n#[cfg(test)]\nmod tests {\n    fn f() {\n        tokio::spawn(x);\n    }\n    #[ignore]\n}\n";
        assert_eq!(
            texts("crates/a/src/b.rs", file),
            ["7: `#[ignore` is banned here: a test that does not run is no test"]
        );
        let after = format!("{file}fn g() {{ tokio::spawn(x); }}\n");
        assert_eq!(texts("crates/a/src/b.rs", &after).len(), 2);
        assert!(texts("crates/a/tests/it/b.rs", "//! D.\ntokio::spawn(x);\n").is_empty());
        assert_eq!(
            texts("crates/a/src/b.rs", "//! D.\n#[cfg(test)]\nmod tests;\nfn g() { tokio::spawn(x); }\n").len(),
            1
        );
    }

    #[test]
    fn a_select_is_biased() {
        assert!(texts("crates/a/src/b.rs", "//! D.\nselect! { biased;\n  () = x => {}\n}\n").is_empty());
        assert!(texts("crates/a/src/b.rs", "//! D.\ntokio::select! {\n    biased;\n}\n").is_empty());
        assert_eq!(texts("crates/a/src/b.rs", "//! D.\ntokio::select! {\n    () = x => {}\n}\n").len(), 1);
    }

    #[test]
    fn marks_of_unfinished_work_are_told_as_words_only() {
        assert_eq!(texts("crates/a/src/b.rs", "//! D.\n// TODO: later\n"), ["2: TODO: finish it, or open an issue"]);
        assert!(texts("crates/a/src/b.rs", "//! D.\nconst XXXL: u8 = 1;\n").is_empty());
    }

    #[test]
    fn paths_of_this_machine_are_told_and_common_ones_are_not() {
        let paths = machine_paths(Path::new("/srv/build/house"), Some(Path::new("/home/ada")));
        assert_eq!(paths, ["/home/ada/", "/srv/build/", "/srv/build/house/"]);
        let found = |line: &str| check_machine_paths("a.md", line, &paths).len();
        assert_eq!(found("see /srv/build/notes.txt"), 1);
        assert_eq!(found("see \"/home/ada/notes\""), 1);
        assert_eq!(found("see /home/bob/notes, ${root}/srv/build/x and https://host.example/srv/build/x"), 0);
    }
}
