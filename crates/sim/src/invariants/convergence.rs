//! Once the faults are over, a write succeeds, and all replicas come to the same state.

use std::sync::Arc;

use super::{Contents, Verdict, broken};

const NAME: &str = "convergence";

/// A replica at the end.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Who.
    pub name: Arc<str>,
    /// Its version, if it runs.
    pub version: Option<u64>,
    /// What it holds.
    pub contents: Contents,
}

/// Every replica runs, at one version, with one state.
///
/// # Errors
///
/// Who differs.
pub fn check(replicas: &[Replica]) -> Verdict {
    let Some(first) = replicas.first() else { return Ok(()) };
    for one in replicas {
        if one.version.is_none() {
            return broken(NAME, format!("{} does not run", one.name));
        }
        if one.version != first.version || one.contents != first.contents {
            let versions: Vec<_> = replicas.iter().map(|one| (one.name.as_ref(), one.version)).collect();
            return broken(NAME, format!("the replicas differ: {versions:?}"));
        }
    }
    Ok(())
}

/// Nothing came about in all the time that there was.
pub(crate) fn late(what: &str) -> Verdict {
    broken(NAME, format!("{what} within the time after the faults"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_that_differ_or_do_not_run_are_told() {
        let one = Replica { name: Arc::from("n1"), version: Some(3), contents: Contents::new() };
        let same = Replica { name: Arc::from("n2"), ..one.clone() };
        assert_eq!(check(&[one.clone(), same.clone()]), Ok(()));
        assert!(check(&[one.clone(), Replica { version: Some(4), ..same.clone() }]).is_err());
        assert!(check(&[one, Replica { version: None, ..same }]).unwrap_err().what.contains("n2 does not run"));
    }
}
