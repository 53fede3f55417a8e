//! The end: the next root becomes the cluster's.

use std::sync::Arc;

use bytes::Bytes;
use subtle::ConstantTimeEq as _;
use swarmkit_api::{Cluster, Node, wire};
use swarmkit_ca::{JoinToken, RootDigest};
use swarmkit_runtime::Env;
use swarmkit_store::{Store, StoreError};

use super::Rotation;

/// Makes the next root the cluster's, with tokens that pin it. `false`, and nothing has changed, when another root is to come
/// by now, or when somebody is waited for again.
///
/// # Errors
///
/// When that was not, or perhaps not, written.
pub(crate) async fn finish(store: &Store, rotation: &Rotation, env: &Env) -> Result<bool, StoreError> {
    let finished = store.update(|tx| {
        let Some(cluster) = tx.cluster().filter(|cluster| is_same_root(&cluster.root_ca, &rotation.root)) else {
            return Ok(false);
        };
        if tx.all::<Node>().any(|node| rotation.awaits(node)) {
            return Ok(false);
        }
        let Some(root_ca) = replaced(cluster, env) else { return Ok(false) };
        let (id, bound) = (cluster.id.clone(), bound(&cluster.spec, &cluster.root_ca.ca_cert));
        tx.edit::<Cluster>(&id, |cluster| {
            cluster.root_ca = Arc::new(root_ca);
            cluster.spec = bound.unwrap_or_else(|| cluster.spec.clone());
        })?;
        Ok::<_, StoreError>(true)
    });
    Ok(finished.await?.value)
}

/// The root of a cluster after the replacement that is under way. `None` when there is none.
fn replaced(cluster: &Cluster, env: &Env) -> Option<wire::RootCa> {
    let before = &cluster.root_ca;
    let next = before.root_rotation.as_ref()?;
    let digest = RootDigest::of(&next.ca_cert);
    let token = || JoinToken::generate(digest, cluster.fips, env).as_str().to_owned();
    Some(wire::RootCa {
        ca_key: next.ca_key.clone(),
        ca_cert: next.ca_cert.clone(),
        ca_cert_hash: digest.to_string(),
        join_tokens: Some(wire::JoinTokens { worker: token(), manager: token() }),
        root_rotation: None,
        last_forced_rotation: before.last_forced_rotation,
    })
}

/// The settings in which every authority outside of the cluster says that it signs for the root that was. Those that say none
/// would be of the next one from now on, for which they cannot sign. `None` when all of them say one already.
fn bound(spec: &wire::ClusterSpec, root: &Bytes) -> Option<Arc<wire::ClusterSpec>> {
    let unbound = |authority: &wire::ExternalCa| authority.ca_cert.trim_ascii().is_empty();
    spec.ca_config.as_ref().filter(|config| config.external_cas.iter().any(unbound))?;
    let mut spec = spec.clone();
    let authorities = spec.ca_config.iter_mut().flat_map(|config| &mut config.external_cas);
    authorities.filter(|authority| unbound(authority)).for_each(|authority| authority.ca_cert = root.clone());
    Some(Arc::new(spec))
}

/// Whether two roots are the same, whatever their tokens. How much of a key is the same cannot be told from how long it
/// takes.
fn is_same_root(a: &wire::RootCa, b: &wire::RootCa) -> bool {
    let bare = |root: &wire::RootCa| {
        let mut bare = root.clone();
        bare.join_tokens = None;
        let mut keys = vec![std::mem::take(&mut bare.ca_key)];
        keys.extend(bare.root_rotation.as_mut().map(|rotation| std::mem::take(&mut rotation.ca_key)));
        (bare, keys)
    };
    let ((a, a_keys), (b, b_keys)) = (bare(a), bare(b));
    a == b && a_keys.iter().zip(&b_keys).all(|(a, b)| a.ct_eq(b).into())
}

#[cfg(test)]
mod tests {
    use swarmkit_api::ClusterId;

    use super::*;

    fn rotating() -> wire::RootCa {
        wire::RootCa {
            ca_key: "old key".into(),
            ca_cert: "old".into(),
            ca_cert_hash: RootDigest::of(b"old").to_string(),
            join_tokens: Some(wire::JoinTokens { worker: "w".into(), manager: "m".into() }),
            root_rotation: Some(wire::RootRotation {
                ca_cert: "new".into(),
                ca_key: "new key".into(),
                cross_signed_ca_cert: "crossed".into(),
            }),
            last_forced_rotation: 4,
        }
    }

    #[test]
    fn the_next_root_takes_the_place_of_the_present_one_with_tokens_of_its_own() {
        for fips in [false, true] {
            let mut cluster = Cluster::new(ClusterId::from("c"));
            cluster.fips = fips;
            cluster.root_ca = Arc::new(rotating());
            let after = replaced(&cluster, &swarmkit_testing::env()).unwrap();
            assert_eq!((&*after.ca_cert, &*after.ca_key), (b"new".as_slice(), b"new key".as_slice()));
            assert_eq!(after.ca_cert_hash, RootDigest::of(b"new").to_string());
            assert_eq!((after.root_rotation, after.last_forced_rotation), (None, 4));
            let tokens = after.join_tokens.unwrap();
            assert_ne!(tokens.worker, tokens.manager);
            for token in [tokens.worker, tokens.manager] {
                let token = JoinToken::parse(&token).unwrap();
                assert_eq!((token.digest(), token.requires_fips()), (RootDigest::of(b"new"), fips));
            }
        }
    }

    #[test]
    fn an_authority_that_says_no_root_stays_that_of_the_root_that_was() {
        let authority = |url: &str, root: &'static str| wire::ExternalCa {
            url: url.to_owned(),
            ca_cert: root.into(),
            ..Default::default()
        };
        let spec = |roots: [&'static str; 2]| wire::ClusterSpec {
            ca_config: Some(wire::CaConfig {
                external_cas: vec![authority("a", roots[0]), authority("b", roots[1])],
                ..Default::default()
            }),
            ..Default::default()
        };
        let old = Bytes::from("old");
        assert_eq!(*bound(&spec(["", "new"]), &old).unwrap(), spec(["old", "new"]));
        assert_eq!(bound(&spec(["old", "new"]), &old), None);
        assert_eq!(bound(&wire::ClusterSpec::default(), &old), None);
    }

    #[test]
    fn without_a_replacement_under_way_there_is_nothing_to_finish() {
        let mut cluster = Cluster::new(ClusterId::from("c"));
        cluster.root_ca = Arc::new(wire::RootCa { root_rotation: None, ..rotating() });
        assert_eq!(replaced(&cluster, &swarmkit_testing::env()), None);
    }

    #[test]
    fn roots_are_the_same_whatever_their_tokens_and_in_everything_else() {
        let (root, mut other) = (rotating(), rotating());
        other.join_tokens = None;
        assert!(is_same_root(&root, &other));
        let changes: [fn(&mut wire::RootCa); 7] = [
            |root| root.ca_key = "another".into(),
            |root| root.ca_cert = "another".into(),
            |root| root.last_forced_rotation = 5,
            |root| root.root_rotation = None,
            |root| root.root_rotation.as_mut().unwrap().ca_key = bytes::Bytes::new(),
            |root| root.root_rotation.as_mut().unwrap().ca_cert = "another".into(),
            |root| root.root_rotation.as_mut().unwrap().cross_signed_ca_cert = "another".into(),
        ];
        for change in changes {
            let mut other = rotating();
            change(&mut other);
            assert!(!is_same_root(&root, &other));
        }
    }
}
