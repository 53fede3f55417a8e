//! Another root for the cluster, as operators ask for it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use swarmkit_api::{Cluster, wire};
use swarmkit_ca::{
    Authorities, ExternalCa, ExternalCaError, KeyPair, KeySource as _, RootCa, SigningOrder, SystemKeys,
};
use tokio::sync::Notify;
use tonic::Code;

use crate::world::{World, default_cluster, invalid};

/// The settings of the cluster, and what they are to say of its root.
fn wanting(world: &World, change: impl FnOnce(&mut wire::CaConfig)) -> wire::UpdateClusterRequest {
    let mut request = world.cluster_update();
    change(request.spec.as_mut().unwrap().ca_config.get_or_insert_default());
    request
}

fn stored(world: &World) -> Arc<Cluster> {
    world.view().cluster().unwrap().clone()
}

#[tokio::test]
async fn a_rotation_begins_and_no_key_of_it_is_told_or_kept_twice() {
    let world = World::with_cluster().await;
    let before = stored(&world);
    let wanted = RootCa::create(&SystemKeys, &swarmkit_testing::env()).unwrap();
    let key = wanted.signing_key().unwrap().to_pem().as_bytes().to_vec();
    let request = wanting(&world, |config| {
        config.signing_ca_cert = wanted.bundle().to_owned().into();
        config.signing_ca_key = key.clone().into();
    });
    let told = world.control().update_cluster(request).await.unwrap().into_inner().cluster.unwrap();
    let after = stored(&world);
    let rotation = after.root_ca.root_rotation.clone().unwrap();
    assert_eq!((&*rotation.ca_cert, &*rotation.ca_key), (wanted.bundle().as_bytes(), key.as_slice()));
    assert_eq!((&after.root_ca.ca_cert, &after.root_ca.ca_key), (&before.root_ca.ca_cert, &before.root_ca.ca_key));
    assert_eq!(after.root_ca.join_tokens, before.root_ca.join_tokens, "who joins meanwhile joins the old root");
    let config = after.spec.ca_config.clone().unwrap();
    assert!(config.signing_ca_cert.is_empty() && config.signing_ca_key.is_empty(), "the key is in one place");
    let shown = told.root_ca.unwrap();
    assert!(shown.ca_key.is_empty() && shown.root_rotation.as_ref().unwrap().ca_key.is_empty());
    assert_eq!(shown.root_rotation.unwrap().ca_cert, wanted.bundle().as_bytes(), "what is under way is told");

    // Settings of another kind, as they were read, do not touch it.
    world.control().update_cluster(world.cluster_update()).await.unwrap();
    assert_eq!(stored(&world).root_ca, after.root_ca);
}

#[tokio::test]
async fn each_number_makes_the_cluster_make_a_root_once() {
    let world = World::with_cluster().await;
    let target = || stored(&world).root_ca.root_rotation.as_ref().map(|rotation| rotation.ca_cert.clone());
    let force = |number| wanting(&world, |config| config.force_rotate = number);
    world.control().update_cluster(force(1)).await.unwrap();
    let first = target().expect("a rotation has begun");
    world.control().update_cluster(force(1)).await.unwrap();
    assert_eq!(target(), Some(first.clone()), "the number is known already");
    world.control().update_cluster(force(2)).await.unwrap();
    assert_ne!(target(), Some(first));
    assert_eq!(stored(&world).root_ca.last_forced_rotation, 2);
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let world = World::with_cluster().await;
    let key = SystemKeys.generate().unwrap().to_pem().as_bytes().to_vec();
    let request = wanting(&world, |config| config.signing_ca_key = key.into());
    let text = "if a signing CA key is provided, the signing CA cert must also be provided";
    assert_eq!(world.refused(world.control().update_cluster(request)).await, invalid(text));
    let request = wanting(&world, |config| config.signing_ca_cert = "x".into());
    let refusal = world.refused(world.control().update_cluster(request)).await;
    assert_eq!(refusal, invalid("no valid root CA certificates found"));
    // As it is told of any other change to settings that somebody else has changed since.
    let stale = wanting(&world, |config| config.force_rotate = 1);
    world.control().update_cluster(world.cluster_update()).await.unwrap();
    let (code, text) = world.refused(world.control().update_cluster(stale)).await;
    assert_eq!((code, text.as_str()), (Code::Unknown, "update out of sequence"));
}

#[tokio::test]
async fn a_root_in_the_store_that_cannot_sign_is_an_error_of_the_cluster() {
    let world = World::with_cluster().await;
    let other = SystemKeys.generate().unwrap().to_pem().as_bytes().to_vec();
    world
        .put(|tx| {
            tx.edit::<Cluster>(&default_cluster(), |cluster| {
                Arc::make_mut(&mut cluster.root_ca).ca_key = other.into();
            })
            .map(drop)
        })
        .await;
    let request = wanting(&world, |config| config.force_rotate = 1);
    let (code, text) = world.refused(world.control().update_cluster(request)).await;
    let expected = "unable to generate a cross-signed certificate for root rotation: certificate key mismatch";
    assert_eq!((code, text.as_str()), (Code::Internal, expected));
}

/// An authority that thinks until it is told to answer.
struct Slow {
    root: RootCa,
    asked: Notify,
    answers: Notify,
}

impl ExternalCa for Slow {
    fn sign<'a>(&'a self, _: &'a Authorities, _: &'a SigningOrder) -> BoxFuture<'a, Result<String, ExternalCaError>> {
        unreachable!("nothing is issued here")
    }

    fn cross_sign<'a>(
        &'a self,
        _: &'a Authorities,
        root: &'a RootCa,
    ) -> BoxFuture<'a, Result<String, ExternalCaError>> {
        Box::pin(async { Ok(self.root.cross_sign(root.bundle()).expect("a root")) })
    }

    fn reach<'a>(&'a self, _: &'a Authorities) -> BoxFuture<'a, Result<(), ExternalCaError>> {
        Box::pin(async {
            self.asked.notify_one();
            self.answers.notified().await;
            Ok(())
        })
    }
}

/// A cluster whose key is with that authority.
async fn kept_elsewhere() -> (World, Arc<Slow>) {
    let env = swarmkit_testing::env();
    let root = RootCa::create(&SystemKeys, &env).unwrap();
    let slow = Arc::new(Slow { root: root.clone(), asked: Notify::new(), answers: Notify::new() });
    let world = World::with_cluster_asking(slow.clone()).await;
    let bundle = root.bundle().to_owned();
    world
        .put(|tx| {
            tx.edit::<Cluster>(&default_cluster(), |cluster| {
                let root_ca = Arc::make_mut(&mut cluster.root_ca);
                (root_ca.ca_cert, root_ca.ca_key) = (bundle.into(), bytes::Bytes::new());
            })
            .map(drop)
        })
        .await;
    (world, slow)
}

#[tokio::test]
async fn writers_go_on_while_an_authority_elsewhere_is_asked_and_what_it_said_is_used() {
    let (world, slow) = kept_elsewhere().await;
    let mut control = world.control();
    let update = control.update_cluster(wanting(&world, |config| config.force_rotate = 1));
    let others = async {
        slow.asked.notified().await;
        world.put(|tx| tx.create(swarmkit_testing::node("n").build()).map(drop)).await;
        slow.answers.notify_one();
    };
    let (updated, ()) = tokio::join!(update, others);
    updated.unwrap();
    let root_ca = stored(&world).root_ca.clone();
    let rotation = root_ca.root_rotation.as_ref().expect("a rotation has begun");
    assert!(root_ca.ca_key.is_empty() && KeyPair::from_pem(str::from_utf8(&rotation.ca_key).unwrap()).is_ok());
}

#[tokio::test]
async fn what_an_authority_elsewhere_said_counts_only_for_the_cluster_that_it_was_asked_about() {
    let (world, slow) = kept_elsewhere().await;
    let mut control = world.control();
    let update = control.update_cluster(wanting(&world, |config| config.force_rotate = 1));
    let others = async {
        slow.asked.notified().await;
        world.put(|tx| tx.edit::<Cluster>(&default_cluster(), |cluster| cluster.fips = true).map(drop)).await;
        slow.answers.notify_one();
    };
    let (updated, ()) = tokio::join!(update, others);
    assert_eq!(updated.unwrap_err().message(), "update out of sequence");
    assert!(stored(&world).root_ca.root_rotation.is_none());
}
