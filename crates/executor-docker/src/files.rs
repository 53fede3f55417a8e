//! Secrets and configs: files in the node's memory, each mounted into its container read-only.
//!
//! The engine's own way of copying files into a container would write them to the container's layer, on a disk.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use swarmkit_api::wire::{ContainerSpec, FileTarget, config_reference, secret_reference};
use swarmkit_executor::{Cause, Dependencies, ExecError, Payload};

/// Where secrets are whose target is no absolute path.
const SECRETS: &str = "/run/secrets/";
/// The mode of a file whose reference does not say one: as clients of the engine have it.
const MODE: u32 = 0o444;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Secret,
    Config,
}

/// One file that a container is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskFile {
    kind: Kind,
    /// The id of the secret or config.
    id: String,
    /// Where it is on the node.
    pub(crate) source: PathBuf,
    /// Where it is in the container.
    pub(crate) target: String,
    uid: u32,
    gid: u32,
    mode: u32,
}

/// The files of a task, to be kept in `dir`.
pub(crate) fn of(spec: &ContainerSpec, dir: &Path) -> Result<Vec<TaskFile>, Cause> {
    let mut files = Vec::new();
    for secret in &spec.secrets {
        let target = secret.target.as_ref().map(|secret_reference::Target::File(file)| file);
        let source = dir.join(format!("secret-{}", files.len()));
        files.push(TaskFile::new(Kind::Secret, &secret.secret_id, &secret.secret_name, target, source)?);
    }
    for config in &spec.configs {
        let target = match &config.target {
            // For the engine itself, such as a credential specification: no file.
            Some(config_reference::Target::Runtime(_)) => continue,
            Some(config_reference::Target::File(file)) => Some(file),
            None => None,
        };
        let source = dir.join(format!("config-{}", files.len()));
        files.push(TaskFile::new(Kind::Config, &config.config_id, &config.config_name, target, source)?);
    }
    Ok(files)
}

/// Writes down all files of a task anew, in a directory of their own. What must not be on a disk is refused unless the
/// directory is `in_memory`.
pub(crate) fn put(
    dir: &Path,
    in_memory: bool,
    files: &[TaskFile],
    dependencies: &dyn Dependencies,
) -> Result<(), ExecError> {
    // Asked for first, so that nothing is written if one of them cannot be had.
    let payloads = files.iter().map(|file| file.payload(dependencies)).collect::<Result<Vec<_>, _>>()?;
    let sensitive = files.iter().zip(&payloads).find(|(_, payload)| payload.sensitive);
    if let Some((file, _)) = sensitive.filter(|_| !in_memory) {
        let text = format!("{}: this node has no place in memory for files with secrets", file.target);
        return Err(ExecError::rejected(text));
    }
    match fs::DirBuilder::new().mode(0o711).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(ExecError::temporary)?,
    }
    for (file, payload) in files.iter().zip(payloads) {
        file.write(&payload)?;
    }
    Ok(())
}

/// Removes the files of a task.
pub(crate) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

impl TaskFile {
    fn new(kind: Kind, id: &str, name: &str, file: Option<&FileTarget>, source: PathBuf) -> Result<Self, Cause> {
        let file = file.cloned().unwrap_or_default();
        let name = if file.name.is_empty() { name } else { &file.name };
        let target = match (name.starts_with('/'), kind) {
            (true, _) => name.to_owned(),
            (false, Kind::Secret) => format!("{SECRETS}{name}"),
            (false, Kind::Config) => format!("/{name}"),
        };
        if name.is_empty() || name.ends_with('/') || name.contains('\0') || name.split('/').any(|part| part == "..") {
            return Err(format!("{name:?} is no file name").into());
        }
        let number = |what: &str, text: &str| match text {
            "" => Ok(0),
            text => text.parse::<u32>().map_err(|_| format!("{name}: the {what} {text:?} is no number")),
        };
        let mode = if file.mode == 0 { MODE } else { file.mode & 0o777 };
        let (uid, gid) = (number("uid", &file.uid)?, number("gid", &file.gid)?);
        Ok(Self { kind, id: id.to_owned(), source, target, uid, gid, mode })
    }

    fn payload(&self, dependencies: &dyn Dependencies) -> Result<Payload, ExecError> {
        match self.kind {
            Kind::Secret => dependencies.secret(&self.id),
            Kind::Config => dependencies.config(&self.id),
        }
    }

    /// Writes the file. It is a new one each time, so that a container that has the old one keeps it as it was.
    fn write(&self, payload: &Payload) -> Result<(), ExecError> {
        let write = || {
            match fs::remove_file(&self.source) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&self.source)?;
            file.write_all(&payload.data)?;
            // A container's root reads what is ours, so only another owner has to be set.
            if (self.uid, self.gid) != (0, 0) {
                std::os::unix::fs::fchown(&file, Some(self.uid), Some(self.gid))?;
            }
            file.set_permissions(Permissions::from_mode(self.mode))
        };
        write().map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied if (self.uid, self.gid) != (0, 0) => ExecError::rejected(format!(
                "{}: this node cannot give files to user {} and group {}",
                self.target, self.uid, self.gid
            )),
            _ => ExecError::temporary(format!("{}: {error}", self.target)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use swarmkit_api::wire::{ConfigReference, RuntimeTarget, SecretReference};
    use swarmkit_executor::FixedDependencies;

    use super::*;

    fn spec(name: &str, uid: &str, mode: u32) -> ContainerSpec {
        let file = FileTarget { name: name.into(), uid: uid.into(), mode, ..Default::default() };
        let runtime = Some(config_reference::Target::Runtime(RuntimeTarget {}));
        ContainerSpec {
            secrets: vec![SecretReference {
                secret_id: "s1".into(),
                secret_name: "password".into(),
                target: Some(secret_reference::Target::File(file)),
            }],
            configs: vec![
                ConfigReference { config_id: "c0".into(), config_name: "credentials".into(), target: runtime },
                ConfigReference { config_id: "c1".into(), config_name: "site".into(), target: None },
            ],
            ..Default::default()
        }
    }

    fn targets(spec: &ContainerSpec) -> Result<Vec<String>, String> {
        let files = of(spec, Path::new("/shelf")).map_err(|error| error.to_string())?;
        Ok(files.into_iter().map(|file| file.target).collect())
    }

    #[test]
    fn a_file_is_where_its_target_says() {
        assert_eq!(targets(&spec("db", "", 0)).unwrap(), ["/run/secrets/db", "/site"]);
        assert_eq!(targets(&spec("/etc/db", "", 0)).unwrap(), ["/etc/db", "/site"]);
        assert_eq!(targets(&spec("", "", 0)).unwrap(), ["/run/secrets/password", "/site"]);
    }

    #[test]
    fn what_is_no_file_or_no_number_is_refused() {
        assert_eq!(targets(&spec("../x", "", 0)).unwrap_err(), "\"../x\" is no file name");
        assert_eq!(targets(&spec("x/", "", 0)).unwrap_err(), "\"x/\" is no file name");
        assert_eq!(targets(&spec("x", "joe", 0)).unwrap_err(), "x: the uid \"joe\" is no number");
    }

    #[test]
    fn files_are_written_anew_each_time_and_removed_together() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("t1");
        let files = of(&spec("db", "", 0o440), &dir).unwrap();
        let dependencies = FixedDependencies::new().with_secret("s1", b"hush").with_config("c1", b"open");
        for _ in 0..2 {
            put(&dir, true, &files, &dependencies).unwrap();
            assert_eq!(fs::read_to_string(&files[0].source).unwrap(), "hush");
            assert_eq!(fs::metadata(&files[0].source).unwrap().mode() & 0o777, 0o440);
            assert_eq!(fs::read_to_string(&files[1].source).unwrap(), "open");
            assert_eq!(fs::metadata(&files[1].source).unwrap().mode() & 0o777, 0o444);
        }
        remove(&dir).unwrap();
        remove(&dir).unwrap();
        assert!(!dir.exists());
    }

    #[test]
    fn nothing_is_written_if_one_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("t1");
        let files = of(&spec("db", "", 0), &dir).unwrap();
        let error = put(&dir, true, &files, &FixedDependencies::new().with_secret("s1", b"hush")).unwrap_err();
        assert_eq!(error.to_string(), "config c1 not found");
        assert!(!dir.exists());
    }

    #[test]
    fn a_secret_is_not_written_to_a_disk_and_a_config_that_holds_none_is() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("t1");
        let files = of(&spec("db", "", 0o440), &dir).unwrap();
        let dependencies = FixedDependencies::new().with_secret("s1", b"hush").with_config("c1", b"open");
        let error = put(&dir, false, &files, &dependencies).unwrap_err();
        assert!(matches!(error, ExecError::Rejected(_)), "{error:?}");
        assert_eq!(error.to_string(), "/run/secrets/db: this node has no place in memory for files with secrets");
        assert!(!dir.exists());
        put(&dir, false, &files[1..], &dependencies).unwrap();
        assert_eq!(fs::read_to_string(&files[1].source).unwrap(), "open");
    }
}
