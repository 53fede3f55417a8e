//! When a plugin is asked again, and who waits for whom.

use std::{sync::Arc, time::Duration};

use swarmkit_api::wire::volume_publish_status::State as Publish;
use swarmkit_csi::{CALL_TIME, VOLUMES_AT_ONCE};

use crate::{
    played::{Mood, Shelf},
    world::{create, edit, get, managed, places, settle, store, volume, waits, want},
};

#[tokio::test(start_paused = true)]
async fn delays_double_and_stay_at_ten_minutes_for_ever() {
    let (store, shelf) = (store(), Shelf::default());
    let plugin = shelf.add("fast");
    plugin.feel(Mood::Fails);
    managed(&store, Arc::new(shelf), async || {
        create(&store, volume("v", "fast"));
        settle().await;
        let version = store.version();
        tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
        assert_eq!(store.version(), version, "what is said already is not written again");
        let times = plugin.times();
        let between: Vec<_> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
        assert_eq!(between[..5], [200, 400, 800, 1600, 3200]);
        assert!(between.len() > 100 && between[12..].iter().all(|gap| *gap == 600_000), "{between:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn something_new_about_a_volume_is_tried_at_once() {
    let (store, shelf) = (store(), Shelf::default());
    let plugin = shelf.add("fast");
    create(&store, volume("v", "fast"));
    managed(&store, Arc::new(shelf), async || {
        plugin.feel(Mood::Avoids("a-1"));
        want(&store, "v", "a", Publish::PendingPublish);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        plugin.asked();
        want(&store, "v", "b", Publish::PendingPublish);
        settle().await;
        assert!(places(&store, "v").contains(&"b PUBLISHED".to_owned()));
        // And the delays begin anew: within a second it is tried several times.
        plugin.asked();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(plugin.asked().len(), 2, "after 200 and after 600 ms");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_label_is_nothing_new() {
    let (store, shelf) = (store(), Shelf::default());
    let plugin = shelf.add("fast");
    plugin.feel(Mood::Fails);
    create(&store, volume("v", "fast"));
    managed(&store, Arc::new(shelf), async || {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        plugin.asked();
        edit(&store, "v", |volume| {
            Arc::make_mut(&mut volume.spec).annotations.get_or_insert_default().labels.insert("a".into(), "b".into());
        });
        settle().await;
        assert!(plugin.asked().is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_hangs_is_given_up_and_holds_up_its_own_volumes_only() {
    let (store, shelf) = (store(), Shelf::default());
    let (slow, fast) = (shelf.add("slow"), shelf.add("fast"));
    slow.feel(Mood::Hangs);
    managed(&store, Arc::new(shelf), async || {
        for n in 0..10 {
            create(&store, volume(&format!("s{n}"), "slow"));
            create(&store, volume(&format!("f{n}"), "fast"));
        }
        settle().await;
        assert_eq!(fast.asked().len(), 10);
        assert_eq!(slow.asked().len(), VOLUMES_AT_ONCE, "no more at a time");
        tokio::time::sleep(CALL_TIME).await;
        settle().await;
        assert_eq!(waits(&store, "s0").unwrap(), "error creating volume: no answer within 15 seconds");
        assert_eq!(slow.asked().len(), VOLUMES_AT_ONCE, "the next ones have their turn");
        slow.feel(Mood::Willing);
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert!((0..10).all(|n| get(&store, &format!("s{n}")).unwrap().volume_info.is_some()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_is_installed_later_is_found() {
    let (store, shelf) = (store(), Shelf::default());
    create(&store, volume("v", "fast"));
    managed(&store, Arc::new(shelf.clone()), async || {
        let told = "error creating volume: this manager has no storage plugin \"fast\"; each manager needs it";
        assert_eq!(waits(&store, "v").unwrap(), told);
        let plugin = shelf.add("fast");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(plugin.asked(), ["create v"]);
        assert_eq!(waits(&store, "v"), None);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn more_to_do_that_comes_while_the_plugin_works_is_done_after_it() {
    let (store, shelf) = (store(), Shelf::default());
    let plugin = shelf.add("fast");
    create(&store, volume("v", "fast"));
    managed(&store, Arc::new(shelf), async || {
        plugin.feel(Mood::Hangs);
        want(&store, "v", "a", Publish::PendingPublish);
        settle().await;
        plugin.feel(Mood::Willing);
        plugin.asked();
        want(&store, "v", "b", Publish::PendingPublish);
        settle().await;
        assert!(plugin.asked().is_empty(), "one at a time about one volume");
        tokio::time::sleep(CALL_TIME).await;
        settle().await;
        assert_eq!(places(&store, "v").len(), 2);
        assert!(places(&store, "v").iter().all(|place| place.ends_with(" PUBLISHED")), "{:?}", places(&store, "v"));
    })
    .await;
}
