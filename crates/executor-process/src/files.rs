//! Secrets and configs as files that only the task's user can read.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Component, Path, PathBuf},
};

use swarmkit_api::wire::{self, FileTarget, config_reference, secret_reference};
use swarmkit_executor::{Cause, Dependencies, ExecError, Payload};

use crate::plan::Identity;

/// The mode of a file whose reference does not say one.
const MODE: u32 = 0o400;

/// Where tasks with an image find their secrets. As container engines have it.
pub(crate) const SECRETS: &str = "/run/secrets";
/// And their configs.
pub(crate) const CONFIGS: &str = "/";

/// A file, and where a task with a root of its own finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
}

/// Where the files of one task are.
#[derive(Clone, Debug)]
pub(crate) struct TaskFiles(pub(crate) PathBuf);

impl TaskFiles {
    pub(crate) fn secrets(&self) -> PathBuf {
        self.0.join("secrets")
    }

    pub(crate) fn configs(&self) -> PathBuf {
        self.0.join("configs")
    }

    /// The files that [`Self::put`] puts down for a specification.
    pub(crate) fn placed(&self, spec: &wire::ContainerSpec) -> Result<Vec<Placed>, ExecError> {
        let secrets = spec.secrets.iter().map(|secret| {
            let target = secret.target.as_ref().map(|secret_reference::Target::File(file)| file);
            placed(&self.secrets(), Path::new(SECRETS), &secret.secret_name, target)
        });
        let configs = spec.configs.iter().filter_map(|config| match &config.target {
            Some(config_reference::Target::Runtime(_)) => None,
            Some(config_reference::Target::File(file)) => Some((config, Some(file))),
            None => Some((config, None)),
        });
        let configs =
            configs.map(|(config, target)| placed(&self.configs(), Path::new(CONFIGS), &config.config_name, target));
        secrets.chain(configs).collect::<Result<_, _>>().map_err(ExecError::rejected)
    }

    /// Puts down everything that the specification lists, in place of whatever was there.
    pub(crate) fn put(
        &self,
        spec: &wire::ContainerSpec,
        dependencies: &dyn Dependencies,
        identity: Option<&Identity>,
    ) -> Result<(), ExecError> {
        self.remove().map_err(ExecError::temporary)?;
        if spec.secrets.is_empty() && spec.configs.is_empty() {
            return Ok(());
        }
        make_dir(&self.0, identity).map_err(ExecError::temporary)?;
        for secret in &spec.secrets {
            let target = secret.target.as_ref().map(|secret_reference::Target::File(file)| file);
            let payload = dependencies.secret(&secret.secret_id)?;
            put(&self.secrets(), &secret.secret_name, target, &payload, identity)?;
        }
        for config in &spec.configs {
            let target = match &config.target {
                // For the engine itself, such as a credential specification: no file.
                Some(config_reference::Target::Runtime(_)) => continue,
                Some(config_reference::Target::File(file)) => Some(file),
                None => None,
            };
            let payload = dependencies.config(&config.config_id)?;
            put(&self.configs(), &config.config_name, target, &payload, identity)?;
        }
        Ok(())
    }

    /// Removes everything.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

fn placed(dir: &Path, usual: &Path, name: &str, target: Option<&FileTarget>) -> Result<Placed, Cause> {
    let name = target.map(|target| target.name.as_str()).filter(|name| !name.is_empty()).unwrap_or(name);
    let below = relative(name)?;
    let target = if name.starts_with('/') { Path::new("/").join(&below) } else { usual.join(&below) };
    Ok(Placed { source: dir.join(below), target })
}

/// Puts down one file.
fn put(
    dir: &Path,
    name: &str,
    target: Option<&FileTarget>,
    payload: &Payload,
    identity: Option<&Identity>,
) -> Result<(), ExecError> {
    let target = target.cloned().unwrap_or_default();
    let name = if target.name.is_empty() { name } else { &target.name };
    let relative = relative(name).map_err(ExecError::rejected)?;
    let write = || {
        let mut parent = dir.to_owned();
        make_dir(&parent, identity)?;
        let file = relative.file_name().expect("invariant: the name of a file has a last part");
        for part in relative.parent().into_iter().flat_map(Path::components) {
            parent.push(part);
            make_dir(&parent, identity)?;
        }
        write_file(&parent.join(file), &target, payload, identity)
    };
    write().map_err(|error: io::Error| ExecError::temporary(format!("{name}: {error}")))
}

fn write_file(path: &Path, target: &FileTarget, payload: &Payload, identity: Option<&Identity>) -> io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&payload.data)?;
    if let Some(identity) = identity {
        // An owner of its own is kept; root, which clients put there unasked, gives way to who has to read it.
        let own = |id: &str| id.parse::<u32>().ok().filter(|id| *id != 0);
        let (uid, gid) = (own(&target.uid).unwrap_or(identity.uid), own(&target.gid).unwrap_or(identity.gid));
        std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
    }
    let mode = if target.mode == 0 { MODE } else { target.mode & 0o777 };
    file.set_permissions(Permissions::from_mode(mode))
}

/// The name of a file below our directory: what is absolute becomes relative, and nothing leads out of it.
fn relative(name: &str) -> Result<PathBuf, Cause> {
    let mut path = PathBuf::new();
    for part in Path::new(name).components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(part) => path.push(part),
            Component::ParentDir | Component::Prefix(_) => {
                return Err(format!("file name {name:?} leads elsewhere").into());
            }
        }
    }
    if path.as_os_str().is_empty() || name.contains('\0') {
        Err(format!("{name:?} is no file name").into())
    } else {
        Ok(path)
    }
}

/// A directory of the task's user that nobody else can look into.
fn make_dir(dir: &Path, identity: Option<&Identity>) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made?,
    }
    match identity {
        Some(identity) => std::os::unix::fs::chown(dir, Some(identity.uid), Some(identity.gid)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use swarmkit_executor::FixedDependencies;

    use super::*;

    fn spec(name: &str, mode: u32) -> wire::ContainerSpec {
        let target = FileTarget { name: name.into(), mode, ..Default::default() };
        wire::ContainerSpec {
            secrets: vec![wire::SecretReference {
                secret_id: "s1".into(),
                secret_name: "password".into(),
                target: Some(secret_reference::Target::File(target)),
            }],
            configs: vec![wire::ConfigReference { config_id: "c1".into(), config_name: "site".into(), target: None }],
            ..Default::default()
        }
    }

    fn put(files: &TaskFiles, spec: &wire::ContainerSpec) -> Result<(), ExecError> {
        let dependencies = FixedDependencies::new().with_secret("s1", b"hush").with_config("c1", b"open");
        files.put(spec, &dependencies, None)
    }

    #[test]
    fn files_are_put_where_their_targets_say_below_the_tasks_own_directory() {
        let dir = tempfile::tempdir().unwrap();
        let files = TaskFiles(dir.path().join("t1"));
        put(&files, &spec("/etc/db/password", 0)).unwrap();
        let file = files.secrets().join("etc/db/password");
        assert_eq!(fs::read_to_string(&file).unwrap(), "hush");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o400);
        assert_eq!(fs::read_to_string(files.configs().join("site")).unwrap(), "open");

        put(&files, &spec("", 0o440)).unwrap();
        assert!(!file.exists(), "what was there before is gone");
        let file = files.secrets().join("password");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o440);
        files.remove().unwrap();
        files.remove().unwrap();
        assert!(!file.exists());
    }

    #[test]
    fn a_name_cannot_lead_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let files = TaskFiles(dir.path().join("t1"));
        for name in ["../x", "a/../../x", "/", "a\0b"] {
            let error = put(&files, &spec(name, 0)).unwrap_err();
            assert!(matches!(error, ExecError::Rejected(_)), "{name:?}: {error}");
        }
    }

    #[test]
    fn a_dependency_that_is_missing_rejects_the_task() {
        let dir = tempfile::tempdir().unwrap();
        let files = TaskFiles(dir.path().join("t1"));
        let error = files.put(&spec("x", 0), &FixedDependencies::new(), None).unwrap_err();
        assert_eq!(error.to_string(), "secret s1 not found");
    }
}
