//! From the text of a Compose file to a [`Project`].

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{self, Path, PathBuf},
};

use bytes::Bytes;
use swarmkit_api::wire;
use swarmkit_executor::Workload;

use super::{
    depends,
    model::{Blob, FileRef, Project, Service, Source},
    reader::{Finding, Reader, hint},
    service::{self, string_map},
    suggest::nearest,
    tree::{self, Entry},
};

/// The largest file that is read, far above any sensible one.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Keys at the top that the format has and that are not carried out yet.
const UNSUPPORTED: &[&str] = &["include", "models", "networks", "volumes"];

/// A project, and what to tell the user about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// What the file asks for.
    pub project: Project,
    /// What in it has no effect.
    pub warnings: Vec<Finding>,
}

/// Why a file was refused: all faults that were found, in the order of the file, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// The file, as the user named it.
    pub file: PathBuf,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

/// Reads a file, and the files that its configs and secrets come from.
///
/// Services without an image run in the directory of the file, or in a `working_dir` that is relative to it.
///
/// `variables` answers what `$NAME` stands for.
///
/// # Errors
///
/// Everything that is wrong with the file, at once.
pub fn read(file: &Path, variables: &dyn Fn(&str) -> Option<String>) -> Result<Parsed, Faults> {
    let refuse = |findings| Faults { file: file.to_owned(), findings };
    let text = read_limited(file)
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| io::Error::other("the file is not UTF-8 text")))
        .map_err(|error| refuse(vec![Finding { at: None, message: error.to_string() }]))?;
    let mut parsed = parse(&text, variables).map_err(refuse)?;
    let directory =
        path::absolute(file).map_err(|error| refuse(vec![Finding { at: None, message: error.to_string() }]))?;
    let directory = directory.parent().unwrap_or(Path::new("/"));
    for service in &mut parsed.project.services {
        place_process(service, directory);
    }
    let mut findings = Vec::new();
    for (kind, blobs) in [("configs", &mut parsed.project.configs), ("secrets", &mut parsed.project.secrets)] {
        for blob in blobs {
            let Source::File(path) = &blob.source else { continue };
            match read_limited(&directory.join(path)) {
                Ok(content) => blob.source = Source::Content(content.into()),
                Err(error) => findings.push(Finding {
                    at: Some(blob.at),
                    message: format!("{kind}.{}: cannot read {}: {error}", blob.key, path.display()),
                }),
            }
        }
    }
    if findings.is_empty() { Ok(parsed) } else { Err(refuse(findings)) }
}

/// Parses the text of a file. Files that it names are not read.
///
/// # Errors
///
/// Everything that is wrong with it, in the order of the text.
pub fn parse(text: &str, variables: &dyn Fn(&str) -> Option<String>) -> Result<Parsed, Vec<Finding>> {
    let root = tree::parse(text).map_err(|error| vec![Finding { at: error.at, message: error.message }])?;
    let mut reader = Reader::new(variables);
    let mut fields = reader.fields(root, "");
    let name = fields.take("name").and_then(|(node, path)| reader.text(&node, &path));
    if let Some(entry) = fields.take_entry("version") {
        reader.warn(entry.at, "\"version\" is obsolete and is ignored");
    }
    let configs = fields.take("configs").map(|(node, path)| {
        let entries = reader.named(node, &path);
        entries.into_iter().filter_map(|entry| read_blob(&mut reader, entry, &path)).collect()
    });
    let secrets = fields.take("secrets").map(|(node, path)| {
        let entries = reader.named(node, &path);
        entries.into_iter().filter_map(|entry| read_blob(&mut reader, entry, &path)).collect()
    });
    let (mut services, links): (Vec<Service>, Vec<_>) = match fields.take("services") {
        Some((node, path)) => {
            let entries = reader.named(node, &path);
            entries.into_iter().map(|entry| service::read(&mut reader, entry)).unzip()
        }
        None => Default::default(),
    };
    depends::settle(&mut reader, &mut services, links);
    reader.finish(fields, UNSUPPORTED);
    let project =
        Project { name, services, configs: configs.unwrap_or_default(), secrets: secrets.unwrap_or_default() };
    if project.services.is_empty() && reader.errors.is_empty() {
        reader.errors.push(Finding { at: None, message: "the file defines no services".to_owned() });
    }
    check_refs(&mut reader, &project);
    reader.errors.sort();
    reader.warnings.sort();
    if reader.errors.is_empty() { Ok(Parsed { project, warnings: reader.warnings }) } else { Err(reader.errors) }
}

/// One config or secret.
fn read_blob(reader: &mut Reader<'_>, entry: Entry, section: &str) -> Option<Blob> {
    let path = format!("{section}.{}", entry.key);
    let mut fields = reader.fields(entry.node, &path);
    let labels = fields.take("labels").map(|(node, path)| string_map(reader, node, &path));
    let external =
        fields.take("external").and_then(|(node, path)| reader.word(&node, &path, &[("true", true), ("false", false)]));
    let mut text = |key| fields.take(key).and_then(|(node, path)| reader.text(&node, &path));
    let (name, file, variable) = (text("name"), text("file"), text("environment"));
    let content = if section == "configs" { text("content") } else { None };
    let unsupported: &[_] =
        if section == "configs" { &["template_driver"] } else { &["driver", "driver_opts", "template_driver"] };
    reader.finish(fields, unsupported);

    let mut sources: Vec<Source> = Vec::new();
    sources.extend(file.map(|file| Source::File(file.into())));
    sources.extend(content.map(|content| Source::Content(content.into())));
    sources.extend((external == Some(true)).then_some(Source::External));
    if let Some(variable) = variable {
        match reader.variable(&variable) {
            Some(value) => sources.push(Source::Content(Bytes::from(value))),
            None => {
                reader.error(entry.at, format!("{path}: the variable {variable} is not set"));
                return None;
            }
        }
    }
    let choices =
        if section == "configs" { "file, content, environment or external" } else { "file, environment or external" };
    if sources.len() != 1 {
        reader.error(entry.at, format!("{path} must have exactly one of {choices}"));
    }
    Some(Blob {
        at: entry.at,
        name: name.unwrap_or_else(|| entry.key.clone()),
        key: entry.key,
        labels: labels.unwrap_or_default(),
        source: sources.pop()?,
    })
}

/// Every reference must name something that the file has, and no two may become the same file.
fn check_refs(reader: &mut Reader<'_>, project: &Project) {
    for service in &project.services {
        for (kind, refs, defined) in
            [("configs", &service.configs, &project.configs), ("secrets", &service.secrets, &project.secrets)]
        {
            let mut targets: BTreeMap<&str, &FileRef> = BTreeMap::new();
            for reference in refs {
                let place = format!("services.{}.{kind}", service.name);
                if !defined.iter().any(|blob| blob.key == reference.source) {
                    let known = defined.iter().map(|blob| blob.key.as_str());
                    let hint = hint(nearest(&reference.source, known));
                    let source = &reference.source;
                    reader.error(
                        reference.at,
                        format!("{place} refers to {source:?}, which {kind} does not define{hint}"),
                    );
                }
                if let Some(other) = targets.insert(&reference.target.name, reference) {
                    let (source, target) = (&other.source, &reference.target.name);
                    reader.error(
                        reference.at,
                        format!("{place} puts {source:?} and this one at the same target {target:?}"),
                    );
                }
            }
        }
    }
}

/// A process runs beside the Compose file, unless the file says otherwise.
fn place_process(service: &mut Service, directory: &Path) {
    let Some(task) = &mut service.spec.task else { return };
    let is_process = Workload::of(task) == Some(Workload::Process);
    if let Some(wire::task_spec::Runtime::Container(container)) = &mut task.runtime
        && is_process
    {
        let dir: PathBuf = directory.join(&container.dir).components().collect();
        container.dir = dir.display().to_string();
    }
}

fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let size = fs::metadata(path)?.len();
    if size > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("the file is larger than {} MiB", FILE_BYTES_MAX / 1024 / 1024)));
    }
    fs::read(path)
}

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            let separator = if finding.at.is_some() { ":" } else { ": " };
            write!(f, "{}{separator}{finding}", self.file.display())?;
        }
        Ok(())
    }
}
