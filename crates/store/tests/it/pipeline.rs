//! Many transactions under way, and what becomes of them when one fails.

use futures_util::FutureExt as _;
use swarmkit_api::{Kind, Node, NodeId, Version};
use swarmkit_store::{Applied, MAX_IN_FLIGHT, Pending, ProposeError, Store, StoreError, Transaction, Update};
use swarmkit_testing::env;

use crate::support::{Held, Sample, ids, waiting};

fn submit(store: &Store, id: &str) -> Result<Pending, StoreError> {
    let submitted = store.submit(|tx| tx.create(Node::sample(id, id)));
    submitted.now_or_never().expect("there is a place").map(|(_, pending)| pending)
}

fn outcome(pending: Pending) -> Option<Result<Version, StoreError>> {
    pending.now_or_never()
}

fn nodes(store: &Store) -> String {
    ids(store.view().all::<Node>()).join(" ")
}

#[test]
fn transactions_build_on_each_other_before_any_is_committed() {
    let (held, store) = Held::store();
    let one = submit(&store, "1").unwrap();
    let two = submit(&store, "2").unwrap();
    assert!(matches!(submit(&store, "1"), Err(StoreError::Exists)), "a change under way is seen by writers");
    assert_eq!((nodes(&store), store.version()), (String::new(), Version::EMPTY), "and by nobody else");
    held.commit();
    assert_eq!((nodes(&store), outcome(one)), ("1".into(), Some(Ok(Version(2)))));
    held.commit();
    assert_eq!((nodes(&store), outcome(two)), ("1 2".into(), Some(Ok(Version(3)))));
}

#[test]
fn a_refusal_because_of_a_change_under_way_is_told_when_that_is_committed() {
    let (held, store) = Held::store();
    let _under_way = submit(&store, "1").unwrap();
    let mut again = Box::pin(store.update(|tx| tx.create(Node::sample("1", "1"))));
    assert!((&mut again).now_or_never().is_none(), "nobody else can see that the id is taken");
    held.commit();
    assert_eq!(again.now_or_never().expect("it is known").unwrap_err(), StoreError::Exists);
}

#[test]
fn a_refusal_because_of_a_change_that_does_not_come_to_be_is_none() {
    let (held, store) = Held::store();
    let _under_way = submit(&store, "1").unwrap();
    let mut again = Box::pin(store.update(|tx| tx.create(Node::sample("1", "1"))));
    assert!((&mut again).now_or_never().is_none());
    held.applier().abandon(&ProposeError::Unknown);
    let error = again.now_or_never().expect("it is known").unwrap_err();
    assert_eq!(error, StoreError::Propose(ProposeError::Superseded));
}

#[test]
fn a_rejected_proposal_fails_all_after_it_and_none_before() {
    let (held, store) = Held::store();
    let [one, two, three] = ["1", "2", "3"].map(|id| submit(&store, id).unwrap());
    let first = held.take();
    held.applier().reject(held.take().id, ProposeError::Failed("disk full".into()));
    held.apply(&first.payload);
    assert_eq!(outcome(one), Some(Ok(Version(2))));
    let failed = Some(Err(StoreError::Propose(ProposeError::Failed("disk full".into()))));
    assert_eq!((outcome(two), outcome(three)), (failed.clone(), failed));
    assert_eq!(nodes(&store), "1");
    let again = submit(&store, "2").expect("the state to build on is the committed one again");
    assert_eq!(held.commit(), Applied::Superseded, "what was built on the rejected one");
    assert_eq!(held.commit(), Applied::Committed(Version(3)));
    assert_eq!(outcome(again), Some(Ok(Version(3))));
}

#[test]
fn one_that_is_too_large_for_its_proposer_makes_the_others_retry() {
    let (held, store) = Held::store();
    let [one, two] = ["1", "2"].map(|id| submit(&store, id).unwrap());
    let too_large = ProposeError::TooLarge { size: 2, limit: 1 };
    held.applier().reject(held.take().id, too_large.clone());
    assert_eq!(outcome(one), Some(Err(too_large.into())));
    assert_eq!(outcome(two), Some(Err(ProposeError::Superseded.into())));
}

#[test]
fn a_refused_proposal_is_the_writers_error_and_the_next_one_works() {
    let (held, store) = Held::store();
    let before = submit(&store, "1").unwrap();
    held.refuse(Some(ProposeError::NotLeader { leader: None }));
    let refused = submit(&store, "2").unwrap_err();
    assert_eq!(refused, StoreError::Propose(ProposeError::NotLeader { leader: None }));
    held.refuse(None);
    let after = submit(&store, "2").unwrap();
    held.commit();
    held.commit();
    assert_eq!((outcome(before), outcome(after)), (Some(Ok(Version(2))), Some(Ok(Version(3)))));
}

#[test]
fn abandoning_fails_everything_under_way_and_tells_no_watcher() {
    let (held, store) = Held::store();
    let mut watch = store.watch(Kind::Node);
    waiting(&mut watch);
    let [one, two] = ["1", "2"].map(|id| submit(&store, id).unwrap());
    held.applier().abandon(&ProposeError::Unknown);
    let unknown = Some(Err(StoreError::Propose(ProposeError::Unknown)));
    assert_eq!((outcome(one), outcome(two)), (unknown.clone(), unknown));
    assert_eq!(nodes(&store), "");
    assert!(waiting(&mut watch).is_empty());
    held.applier().abandon(&ProposeError::Unknown);
}

#[test]
fn an_abandoned_proposal_that_commits_after_all_is_applied_like_any_other() {
    let (held, store) = Held::store();
    let unknown = submit(&store, "1").unwrap();
    held.applier().abandon(&ProposeError::Unknown);
    assert_eq!(outcome(unknown), Some(Err(ProposeError::Unknown.into())));
    assert_eq!(held.commit(), Applied::Committed(Version(2)));
    assert_eq!(nodes(&store), "1");
    let next = submit(&store, "2").unwrap();
    held.commit();
    assert_eq!(outcome(next), Some(Ok(Version(3))));
}

#[test]
fn what_follows_a_superseded_head_is_skipped_even_if_its_version_fits() {
    // 2 is abandoned, 2' and 3' are built beside it, and then the log holds 2, 2', 3': 3' has the right version, but it
    // was built on 2' and not on 2.
    let (held, store) = Held::store();
    let abandoned = submit(&store, "abandoned").unwrap();
    held.applier().abandon(&ProposeError::Unknown);
    let [beside, on_it] = ["beside", "on it"].map(|id| submit(&store, id).unwrap());
    assert_eq!(held.commit(), Applied::Committed(Version(2)));
    assert_eq!(held.commit(), Applied::Superseded);
    assert_eq!(held.commit(), Applied::Superseded);
    assert_eq!(nodes(&store), "abandoned");
    assert_eq!(outcome(abandoned), Some(Err(ProposeError::Unknown.into())));
    let superseded = Some(Err(StoreError::Propose(ProposeError::Superseded)));
    assert_eq!((outcome(beside), outcome(on_it)), (superseded.clone(), superseded));
    let retried = submit(&store, "beside").unwrap();
    held.commit();
    assert_eq!((outcome(retried), nodes(&store)), (Some(Ok(Version(3))), "abandoned beside".into()));
}

#[test]
fn an_entry_given_twice_is_applied_once() {
    let (held, store) = Held::store();
    let pending = submit(&store, "1").unwrap();
    let proposal = held.take();
    assert_eq!(held.apply(&proposal.payload), Applied::Committed(Version(2)));
    assert_eq!(held.apply(&proposal.payload), Applied::Superseded);
    assert_eq!((outcome(pending), store.version()), (Some(Ok(Version(2))), Version(2)));
}

#[test]
fn replicas_that_apply_the_same_log_have_the_same_state_and_skip_the_same_entries() {
    let (held, store) = Held::store();
    let mut log = Vec::new();
    for id in ["1", "2", "3"] {
        submit(&store, id).unwrap().now_or_never();
        log.push(held.take().payload);
    }
    held.applier().abandon(&ProposeError::Unknown);
    submit(&store, "beside").unwrap().now_or_never();
    log.insert(1, held.take().payload);
    let follower = Store::local(env());
    let here: Vec<_> = log.iter().map(|entry| held.apply(entry)).collect();
    let there: Vec<_> = log.iter().map(|entry| follower.applier().apply(entry).unwrap()).collect();
    assert_eq!(here, there);
    assert_eq!(nodes(&store), "1 2 3");
    assert_eq!(store.applier().snapshot().to_bytes(), follower.applier().snapshot().to_bytes());
}

#[test]
fn a_follower_learns_what_objects_were_before() {
    let (held, store) = Held::store();
    let follower = Store::local(env());
    let mut watch = follower.watch(Kind::Node);
    waiting(&mut watch);
    type Step = fn(&mut Transaction) -> Result<(), StoreError>;
    let edits: [Step; 3] = [
        |tx| tx.create(Node::sample("1", "a")).map(drop),
        |tx| tx.edit(&NodeId::from("1"), |node: &mut Node| node.vxlan_udp_port = 1).map(drop),
        |tx| tx.delete::<Node>(&NodeId::from("1")).map(drop),
    ];
    for edit in edits {
        store.submit(edit).now_or_never().unwrap().unwrap().1.now_or_never();
        follower.applier().apply(&held.take().payload).unwrap();
    }
    let ports: Vec<_> = waiting(&mut watch)
        .iter()
        .map(|update| {
            let Update::Delta(delta) = update else { panic!("a watcher that keeps up gets deltas") };
            let edit = delta.changes[0].as_::<Node>().unwrap();
            let port = |node: &std::sync::Arc<Node>| node.vxlan_udp_port;
            (edit.before.as_ref().map(port), edit.after.as_ref().map(port))
        })
        .collect();
    assert_eq!(ports, [(None, Some(0)), (Some(0), Some(1)), (Some(1), None)]);
}

#[test]
fn a_reader_within_a_transaction_is_told_of_what_it_read_only_once_that_is_committed() {
    let (held, store) = Held::store();
    let written = submit(&store, "1").unwrap();
    let reading = || store.submit(|tx| Ok::<_, StoreError>(tx.count::<Node>())).now_or_never().unwrap().unwrap();
    let (count, mut pending) = reading();
    assert_eq!((count, pending.version()), (1, Version(2)));
    assert!((&mut pending).now_or_never().is_none());
    held.commit();
    assert_eq!((outcome(pending), outcome(written)), (Some(Ok(Version(2))), Some(Ok(Version(2)))));

    submit(&store, "2").unwrap().now_or_never();
    let (_, lost) = reading();
    held.applier().abandon(&ProposeError::Unknown);
    assert_eq!(outcome(lost), Some(Err(ProposeError::Unknown.into())));
}

#[test]
fn a_writer_whose_head_was_replaced_while_it_ran_is_told_to_retry() {
    let (held, store) = Held::store();
    submit(&store, "1").unwrap().now_or_never();
    let proposal = held.take();
    held.applier().abandon(&ProposeError::Unknown);
    let overtaken = store.submit(|tx| {
        held.apply(&proposal.payload);
        tx.create(Node::sample("2", "2"))
    });
    let error = overtaken.now_or_never().unwrap().unwrap_err();
    assert_eq!(error, StoreError::Propose(ProposeError::Superseded));
    assert_eq!((held.queued(), nodes(&store)), (0, "1".into()));
}

#[test]
fn a_closed_store_fails_what_is_under_way_and_takes_nothing_more() {
    let (_held, store) = Held::store();
    let mut watch = store.watch(Kind::Node);
    waiting(&mut watch);
    let pending = submit(&store, "1").unwrap();
    store.close();
    assert_eq!(outcome(pending), Some(Err(ProposeError::Unknown.into())));
    assert_eq!(submit(&store, "2").unwrap_err(), StoreError::Propose(ProposeError::Stopped));
    assert!(watch.try_next().is_err());
    assert!(store.watch(Kind::Node).try_next().unwrap().is_some(), "what is there can still be read");
}

#[test]
fn writers_beyond_the_limit_wait_for_a_place() {
    let (held, store) = Held::store();
    let pending: Vec<_> = (0..MAX_IN_FLIGHT).map(|n| submit(&store, &n.to_string()).unwrap()).collect();
    let mut late = std::pin::pin!(store.submit(|tx| tx.create(Node::sample("late", "late"))));
    assert!((&mut late).now_or_never().is_none());
    held.commit();
    let (_, last) = (&mut late).now_or_never().expect("now there is a place").unwrap();
    while held.queued() > 0 {
        held.commit();
    }
    assert!(pending.into_iter().all(|pending| matches!(outcome(pending), Some(Ok(_)))));
    assert_eq!(outcome(last), Some(Ok(store.version())));
}

#[test]
fn an_entry_that_cannot_be_read_changes_nothing() {
    let (held, store) = Held::store();
    submit(&store, "1").unwrap().now_or_never();
    let payload = held.take().payload;
    let follower = Store::local(env());
    const HEADER: usize = 22;
    for cut in 0..HEADER {
        assert!(follower.applier().apply(&payload[..cut]).is_err(), "{cut}");
    }
    assert!(follower.applier().apply(&payload[..payload.len() - 1]).is_err());
    assert_eq!(follower.version(), Version::EMPTY);
    assert_eq!(follower.applier().apply(&payload).unwrap(), Applied::Committed(Version(2)));
}
