//! Looking for the file to execute.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use swarmkit_executor::Cause;

/// Finds `name` as a shell would: with a slash it is a path, relative to `dir`; without it is looked for in `path`.
pub(crate) fn find(name: &str, path: &str, dir: &Path) -> Result<PathBuf, Cause> {
    if name.is_empty() {
        return Err("the command is empty".into());
    }
    if name.contains('/') {
        let file = dir.join(name);
        return match is_program(&file) {
            Ok(true) => Ok(file),
            Ok(false) => Err(format!("{} is not executable", file.display()).into()),
            Err(error) => Err(format!("{}: {error}", file.display()).into()),
        };
    }
    let places = path.split(':').filter(|place| place.starts_with('/'));
    let mut files = places.map(|place| Path::new(place).join(name));
    files
        .find(|file| is_program(file).unwrap_or(false))
        .ok_or_else(|| format!("program {name:?} not found in {path}").into())
}

fn is_program(file: &Path) -> io::Result<bool> {
    let metadata = fs::metadata(file)?;
    Ok(metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_a_shell_would() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("serve");
        fs::write(&file, "#!/bin/sh\n").unwrap();
        let here = dir.path().to_str().unwrap();
        let refused = find("./serve", "", dir.path()).unwrap_err().to_string();
        assert!(refused.ends_with("is not executable"), "{refused}");

        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find("./serve", "", dir.path()).unwrap(), dir.path().join("./serve"));
        assert_eq!(find(file.to_str().unwrap(), "", Path::new("/")).unwrap(), file);
        assert_eq!(find("serve", &format!("/nonexistent:{here}"), Path::new("/")).unwrap(), file);
        let missing = find("serve", "relative:/nonexistent", dir.path()).unwrap_err().to_string();
        assert_eq!(missing, "program \"serve\" not found in relative:/nonexistent");
    }
}
