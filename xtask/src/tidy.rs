//! `cargo xtask tidy`: the rules of this house that neither compiler nor clippy can see.
//!
//! One file for each subject; each has a pure check from text to findings, and its tests beside it.
mod floors;
mod manifests;
mod protos;
mod readme;
mod scenarios;
mod sources;

use std::fmt;

use anyhow::{Result, bail};
pub(crate) use readme::TEST_COMMAND;

use crate::workspace::{files, metadata, relative, root};

/// A rule that is broken, and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// From 1; 0 if the finding is about the file as a whole.
    line: usize,
    text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.text),
            line => write!(f, "{}:{line}: {}", self.path, self.text),
        }
    }
}

/// Prints every finding; an error if there is one.
pub(crate) fn run() -> Result<()> {
    let metadata = metadata()?;
    let root = root();
    let mut findings = floors::check(&floors::crates(&metadata)?);
    for package in metadata.workspace_packages() {
        let manifest = package.manifest_path.as_std_path();
        findings.extend(manifests::check(&relative(manifest), &std::fs::read_to_string(manifest)?));
    }
    let forbidden = sources::machine_paths(&root, std::env::home_dir().as_deref());
    // The rules of this house do not bind what others wrote.
    for path in files(&root, &[".rs"])?.into_iter().filter(|path| !path.starts_with(root.join("third_party"))) {
        findings.extend(sources::check(&relative(&path), &std::fs::read_to_string(&path)?));
    }
    for path in files(&root, &[".rs", ".md", ".proto", ".toml", ".yaml", ".yml", ".sh"])? {
        let name = relative(&path);
        findings.extend(sources::check_machine_paths(&name, &std::fs::read_to_string(&path)?, &forbidden));
    }
    findings.extend(protos::check(&root.join("proto"))?);
    findings.extend(readme::run(&metadata)?);
    findings.extend(scenarios::run(&root)?);
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => bail!("one finding"),
        count => bail!("{count} findings"),
    }
}
