//! The table, row by row.

use swarmkit_ca::Expiry;

use super::*;
use crate::testing::{Authority, identity};

/// What happens, in a word.
fn outcome(pair: Pair, log: bool, wish: &Wish) -> &'static str {
    outcome_knowing(pair, log, false, wish)
}

fn outcome_knowing(pair: Pair, log: bool, known: bool, wish: &Wish) -> &'static str {
    match first_step(Held { path: Path::new("/state"), pair, log, known }, wish) {
        Ok(Step::GoOn(_)) => "goes on",
        Ok(Step::LearnRoot(..)) => "learns the root",
        Ok(Step::Join(_)) => "joins",
        Ok(Step::Found) => "founds",
        Ok(Step::FoundAs(_)) => "founds as given",
        Err(NodeError::Expired { .. }) => "expired",
        Err(NodeError::NoIdentity { .. }) => "no identity",
        Err(NodeError::NotAlone { .. }) => "not alone",
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn every_state_of_the_directory_has_one_outcome() {
    let authority = Authority::new().await;
    let member = |role| authority.certificate(&identity("n", role));
    let own = |role| {
        let root = authority.root.without_signer();
        Credentials::with_expiry(root, member(role), Expiry::Tolerated, &authority.env).unwrap()
    };
    let (worker, manager) = (own(NodeRole::Worker), own(NodeRole::Manager));
    let over = || CaError::NoCommonSpan;
    let join = Wish { join: Some(Target { address: "m:1".to_owned(), token: None }), ..Wish::default() };
    let wishes = [Wish::default(), join, Wish { alone: true, ..Wish::default() }];

    type Row<'a> = (&'a str, &'a dyn Fn() -> Pair, bool, [&'a str; 3]);
    #[rustfmt::skip]
    let table: [Row<'_>; 8] = [
        //                                                           no wish        a manager to join  to go on alone
        ("nothing", &|| Pair::None,                          false, ["founds",      "joins",           "not alone"]),
        ("a log alone", &|| Pair::None,                      true,  ["no identity", "no identity",     "not alone"]),
        ("no root", &|| Pair::Unverified(member(NodeRole::Worker)), false, ["founds", "learns the root", "not alone"]),
        ("no root, a log", &|| Pair::Unverified(member(NodeRole::Manager)), true,
                                                                    ["no identity", "learns the root", "not alone"]),
        ("a worker", &|| Pair::Good(worker.clone()),         false, ["goes on",     "goes on",         "not alone"]),
        ("a manager", &|| Pair::Good(manager.clone()),       true,  ["goes on",     "goes on",         "goes on"]),
        ("a late worker", &|| Pair::Expired(worker.clone(), over()), false, ["expired", "expired",     "not alone"]),
        ("a late manager", &|| Pair::Expired(manager.clone(), over()), true, ["expired", "expired",    "goes on"]),
    ];
    for (name, pair, log, outcomes) in table {
        let found = [0, 1, 2].map(|wish| outcome(pair(), log, &wishes[wish]));
        assert_eq!(found, outcomes, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_was_given_its_certificate_founds_only_where_an_authority_is_named_and_nothing_speaks_of_a_cluster()
 {
    let authority = Authority::new().await;
    let own = |role| {
        let node = authority.certificate(&identity("n", role));
        Pair::Good(Credentials::new(authority.root.without_signer(), node, &authority.env).unwrap())
    };
    let authorities = vec![swarmkit_api::wire::ExternalCa { url: "https://ca".to_owned(), ..Default::default() }];
    let named = Wish { external_cas: authorities.clone(), ..Wish::default() };
    let manager = || own(NodeRole::Manager);
    assert_eq!(outcome(manager(), false, &named), "founds as given");
    assert_eq!(outcome(manager(), false, &Wish::default()), "goes on", "nobody is named");
    assert_eq!(outcome(manager(), true, &named), "goes on", "it has a log");
    assert_eq!(outcome_knowing(manager(), false, true, &named), "goes on", "it knows other managers");
    assert_eq!(outcome(own(NodeRole::Worker), false, &named), "goes on", "it is a worker");
    let target = Some(Target { address: "m:1".to_owned(), token: None });
    let joining = Wish { external_cas: authorities, join: target, ..Wish::default() };
    assert_eq!(outcome(manager(), false, &joining), "goes on", "it is to join");
    assert_eq!(outcome(Pair::None, false, &named), "founds", "with a root of its own");
}
