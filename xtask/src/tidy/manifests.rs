//! Every crate takes versions, lints and metadata from the workspace.
use super::Finding;

/// What every `[package]` inherits.
const INHERITED: [&str; 6] = ["version", "edition", "rust-version", "license", "repository", "publish"];

/// What one manifest leaves out, and the dependencies that it does not take from the workspace.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line, text: String| findings.push(Finding { path: path.to_owned(), line, text });
    let entries = entries(text);
    let has = |section: &str, key: &str| entries.iter().any(|entry| entry.section == section && entry.key == key);
    for key in INHERITED {
        if !has("package", &format!("{key}.workspace")) {
            find(0, format!("[package] lacks `{key}.workspace = true`"));
        }
    }
    if !has("package", "description") {
        find(0, "[package] lacks a description".to_owned());
    }
    if !has("lints", "workspace") {
        find(0, "lacks `[lints] workspace = true`".to_owned());
    }
    for entry in &entries {
        let is_dependency = entry.section.ends_with("dependencies");
        if is_dependency && !entry.key.ends_with(".workspace") && !entry.value.contains("workspace = true") {
            find(entry.line, format!("{} does not come from [workspace.dependencies]", entry.key));
        }
    }
    findings
}

struct Entry<'a> {
    line: usize,
    section: &'a str,
    key: &'a str,
    value: &'a str,
}

/// The `key = value` lines of a manifest, which is all that ours are made of.
fn entries(text: &str) -> Vec<Entry<'_>> {
    let mut section = "";
    let mut entries = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.trim_matches(['[', ']']);
        } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            entries.push(Entry { line: index + 1, section, key: key.trim(), value: value.trim() });
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\nname = \"x\"\ndescription = \"d\"\nversion.workspace = true\n\
        edition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n\
        repository.workspace = true\npublish.workspace = true\n\n[lints]\nworkspace = true\n\n\
        [dependencies]\nbytes.workspace = true\ntonic = { workspace = true, features = [\"codegen\"] }\n";

    fn texts(manifest: &str) -> Vec<String> {
        check("Cargo.toml", manifest).into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn a_manifest_that_inherits_everything_passes() {
        assert_eq!(texts(GOOD), Vec::<String>::new());
    }

    #[test]
    fn what_is_left_out_is_named() {
        assert_eq!(
            texts(&GOOD.replace("[lints]\nworkspace = true\n", "")),
            ["Cargo.toml: lacks `[lints] workspace = true`"]
        );
        assert_eq!(
            texts(&GOOD.replace("license.workspace = true\n", "")),
            ["Cargo.toml: [package] lacks `license.workspace = true`"]
        );
        assert_eq!(texts(&GOOD.replace("description = \"d\"\n", "")), ["Cargo.toml: [package] lacks a description"]);
    }

    #[test]
    fn a_version_of_its_own_is_told_with_its_line() {
        assert_eq!(
            texts(&GOOD.replace("bytes.workspace = true", "bytes = \"1\"")),
            ["Cargo.toml:15: bytes does not come from [workspace.dependencies]"]
        );
    }
}
