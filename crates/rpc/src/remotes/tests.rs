//! How experience turns into choice.

use std::time::SystemTime;

use swarmkit_runtime::Clock;

use super::*;

struct Never;

impl Clock for Never {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

fn remote(name: &str) -> Remote {
    Remote { node: Some(name.into()), address: format!("{name}:2377") }
}

fn remotes(names: &[&str]) -> Remotes {
    Remotes::new(names.iter().map(|name| remote(name)), &Env::seeded(1, Never))
}

/// How often each is drawn in ten thousand tries.
fn draws(remotes: &Remotes) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..10_000 {
        *counts.entry(remotes.select(&[]).unwrap().address).or_default() += 1;
    }
    counts
}

#[test]
fn good_words_add_up_to_the_observation_and_no_further() {
    let remotes = remotes(&[]);
    for expected in [5, 8, 9, 10, 10] {
        remotes.observe(remote("a"), OBSERVATION_DEFAULT);
        assert_eq!(remotes.weight(&remote("a")), Some(expected));
    }
}

#[test]
fn weights_stay_within_their_limits() {
    let remotes = remotes(&[]);
    for _ in 0..20 {
        remotes.observe(remote("a"), i32::MAX);
        remotes.observe(remote("b"), i32::MIN);
    }
    assert_eq!(remotes.weight(&remote("a")), Some(256));
    assert!((-256..=-255).contains(&remotes.weight(&remote("b")).unwrap()));
}

#[test]
fn with_nobody_known_or_everybody_excluded_there_is_no_choice() {
    assert_eq!(remotes(&[]).select(&[]).unwrap_err().to_string(), "no remote hosts provided");
    assert_eq!(remotes(&["a", "b"]).select(&["a", "b:2377"]), Err(NoRemotes));
}

#[test]
fn what_is_excluded_by_node_or_address_is_never_drawn() {
    let remotes = remotes(&["a", "b", "c"]);
    for _ in 0..100 {
        assert_eq!(remotes.select(&["a", "b:2377"]).unwrap(), remote("c"));
        assert_ne!(remotes.select(&["a"]).unwrap(), remote("a"));
    }
}

#[test]
fn equals_are_drawn_equally() {
    for (name, count) in draws(&remotes(&["a", "b", "c", "d"])) {
        assert!((2000..=3000).contains(&count), "{name}: {count}");
    }
}

#[test]
fn zero_weights_can_all_be_drawn_and_a_favourite_dominates() {
    let remotes = remotes(&[]);
    for name in ["a", "b", "c"] {
        remotes.observe(remote(name), 0);
    }
    assert_eq!(draws(&remotes).len(), 3);
    remotes.observe(remote("a"), OBSERVATION_DEFAULT);
    let counts = draws(&remotes);
    assert!(counts["a:2377"] >= 7500, "{counts:?}");
}

#[test]
fn one_bad_experience_makes_a_remote_nearly_undrawable() {
    let remotes = remotes(&["a", "b"]);
    remotes.observe_if_known(&remote("a"), -OBSERVATION_DEFAULT);
    assert!(draws(&remotes).get("a:2377").copied().unwrap_or_default() <= 10);
}

#[test]
fn an_experience_with_a_stranger_does_not_make_it_known() {
    let remotes = remotes(&["a"]);
    remotes.observe_if_known(&remote("b"), OBSERVATION_DEFAULT);
    assert_eq!(remotes.list(), [remote("a")]);
}

#[test]
fn a_new_list_keeps_the_weights_of_those_that_stay() {
    let remotes = remotes(&["a", "b"]);
    remotes.observe(remote("b"), -100);
    let bad = remotes.weight(&remote("b"));
    let mut known = remotes.subscribe();
    known.mark_unchanged();
    remotes.replace([remote("b"), remote("c")]);
    assert_eq!((remotes.weight(&remote("a")), remotes.weight(&remote("b"))), (None, bad));
    assert!(known.has_changed().unwrap());
    known.mark_unchanged();
    remotes.observe(remote("c"), OBSERVATION_DEFAULT);
    assert!(!known.has_changed().unwrap(), "a weight is not part of the list");
}

#[tokio::test]
async fn who_waits_gets_the_first_remote_that_becomes_known() {
    let remotes = remotes(&[]);
    let (chosen, ()) = tokio::join!(remotes.wait_select(), async {
        tokio::task::yield_now().await;
        remotes.observe(remote("a"), OBSERVATION_DEFAULT);
    });
    assert_eq!(chosen, remote("a"));
}
