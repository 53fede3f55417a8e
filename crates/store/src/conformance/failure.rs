//! A failed proposal fails all after it, and what is said of the outcome is true.

use swarmkit_api::Node;

use super::{Subject, create, has, numbered, submit, within};
use crate::{Pending, ProposeError, Store, StoreError};

/// How many transactions are under way when the subject fails.
const UNDER_WAY: usize = 50;

/// What a writer was told of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Committed,
    Failed,
    Unknown,
}

fn told(outcome: Result<impl Sized, StoreError>) -> Told {
    match outcome {
        Ok(_) => Told::Committed,
        Err(StoreError::Propose(ProposeError::Unknown)) => Told::Unknown,
        Err(StoreError::Propose(_)) => Told::Failed,
        Err(refused) => panic!("a valid transaction was refused: {refused}"),
    }
}

/// Hands out transactions, lets the subject fail, and gives what each writer was told. `None` if it cannot fail.
async fn fail_with_transactions_under_way<S: Subject>(subject: &S, from: usize) -> Option<Vec<Told>> {
    let store = subject.store();
    let mut handed: Vec<Result<Pending, StoreError>> = Vec::new();
    for number in from..from + UNDER_WAY {
        handed.push(submit(store, number).await);
    }
    if !within("the failure", subject.fail()).await {
        return None;
    }
    let late = submit(store, from + UNDER_WAY).await;
    let mut all = Vec::new();
    for handed in handed.into_iter().chain([late]) {
        all.push(match handed {
            Ok(pending) => told(within("an outcome after a failure", pending).await),
            Err(error) => told(Err::<(), _>(error)),
        });
    }
    Some(all)
}

/// Whether what the writers were told is true, now that the subject works again.
fn verify(store: &Store, from: usize, told: &[Told]) {
    for (offset, told) in told.iter().enumerate() {
        let there = has(store, from + offset);
        match told {
            Told::Committed => assert!(there, "transaction {offset} was acknowledged and is lost"),
            Told::Failed => assert!(!there, "transaction {offset} was called failed and is there"),
            Told::Unknown => {}
        }
    }
    let there: Vec<bool> = (0..told.len()).map(|offset| has(store, from + offset)).collect();
    assert!(there.is_sorted_by(|a, b| a >= b), "a transaction is there, and one before it is not: {there:?}");
}

pub(super) async fn nothing_is_committed_after_a_failed_one<S: Subject>(subject: &S) {
    let Some(told) = fail_with_transactions_under_way(subject, 0).await else { return };
    let acknowledged = told.iter().take_while(|&&told| told == Told::Committed).count();
    assert!(
        told[acknowledged..].iter().all(|&told| told != Told::Committed),
        "one was acknowledged after another had failed: {told:?}"
    );
    within("the recovery", subject.recover()).await;
    verify(subject.store(), 0, &told);
}

pub(super) async fn what_is_not_known_is_not_called_failed<S: Subject>(subject: &S) {
    let Some(told) = fail_with_transactions_under_way(subject, 0).await else { return };
    within("the recovery", subject.recover()).await;
    // A commit of ours comes after whatever was still on its way, so now all is decided.
    create(subject.store(), UNDER_WAY + 1).await.expect("an update after the recovery is committed");
    verify(subject.store(), 0, &told);
}

pub(super) async fn a_store_works_again_after_each_failure<S: Subject>(subject: &S) {
    let mut from = 0;
    for _ in 0..5 {
        let Some(told) = fail_with_transactions_under_way(subject, from).await else { return };
        within("the recovery", subject.recover()).await;
        let last = from + UNDER_WAY + 1;
        create(subject.store(), last).await.expect("an update after the recovery is committed");
        assert!(has(subject.store(), last), "an update returned before it was visible");
        verify(subject.store(), from, &told);
        from = last + 1;
    }
}

pub(super) async fn what_was_acknowledged_survives_a_restart<S: Subject>(mut subject: S) {
    for round in 0..3 {
        let id = numbered(0).id;
        if round == 0 {
            create(subject.store(), 0).await.expect("an update of a working store is committed");
        }
        for _ in 0..10 {
            let edit = subject.store().update(|tx| tx.edit(&id, |node: &mut Node| node.vxlan_udp_port += 1));
            within("an update", edit).await.expect("an update of a working store is committed");
        }
        let before = subject.store().view();
        let Some(restarted) = within("the restart", subject.restart()).await else { return };
        let after = restarted.store().view();
        assert_eq!(after.get::<Node>(&id), before.get::<Node>(&id), "a write was lost, or applied twice, by a restart");
        assert_eq!(after.version(), before.version(), "the version changed with a restart");
        subject = restarted;
    }
}
