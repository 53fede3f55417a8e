//! Whether anybody is there.

use swarmkit_ca::{Authorities, ExternalCa as _, ExternalCaError};
use swarmkit_external_ca::server::Fault;

use crate::world::{World, known, nobody, root};

#[tokio::test]
async fn a_server_of_that_root_is_reached_whatever_it_would_answer() {
    let world = World::new().await;
    world.server.misbehave(Some(Fault::Status));
    world.client().reach(&world.authorities()).await.unwrap();
    let silent = nobody().await;
    world.client().reach(&world.at(&[&silent, world.server.url()])).await.unwrap();
    assert_eq!(world.server.seen().borrow().questions, 0, "nothing was asked");
    world.end().await;
}

#[tokio::test]
async fn addresses_where_nobody_is_or_which_are_none_reach_nobody() {
    let world = World::new().await;
    let silent = nobody().await;
    for url in [silent.as_str(), "nonsense", "http://localhost", "https://"] {
        let error = world.client().reach(&world.at(&[url])).await.unwrap_err();
        assert!(matches!(&error, ExternalCaError::Unavailable { url: asked, .. } if asked == url), "{error:?}");
    }
    assert_eq!(world.client().reach(&world.at(&[])).await, Err(ExternalCaError::NoUrls));
    world.end().await;
}

#[tokio::test]
async fn only_a_server_of_exactly_the_wanted_root_counts() {
    let mut world = World::new().await;
    let target = root(&world.env);
    let new = world.another(&target, &world.root.clone()).await;
    let of = |url: &str| Authorities::new(&[known(url, Some(&target))], &target, &world.root);
    world.client().reach(&of(new.url())).await.unwrap();
    let error = world.client().reach(&of(world.server.url())).await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    world.end().await;
}
