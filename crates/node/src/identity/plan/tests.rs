//! The table, row by row.

use swarmkit_ca::Expiry;

use super::*;
use crate::testing::{Authority, identity};

/// What happens, in a word.
fn outcome(pair: Pair, log: bool, wish: &Wish) -> &'static str {
    match first_step(Held { path: Path::new("/state"), pair, log }, wish) {
        Ok(Step::GoOn(_)) => "goes on",
        Ok(Step::LearnRoot(..)) => "learns root",
        Ok(Step::Return(..)) => "comes back",
        Ok(Step::Join(_)) => "joins",
        Ok(Step::Found) => "founds",
        Ok(Step::FoundAs(_)) => "founds as given",
        Err(NodeError::Expired { .. }) => "expired",
        Err(NodeError::NoIdentity { .. }) => "no identity",
        Err(NodeError::NotAlone { .. }) => "not alone",
        Err(NodeError::Join(JoinError::NoAddress)) => "no address",
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
    let target =
        |token: Option<&str>| Target { address: "m:1".to_owned(), token: token.map(|token| token.to_owned().into()) };
    let (named, own) = (
        Remote { node: None, address: "m:1".to_owned() },
        Remote { node: Some("n".into()), address: "n:1".to_owned() },
    );
    let other = Remote { node: Some("m".into()), address: "m:1".to_owned() };
    let token = || Some("a token".to_owned().into());
    let wishes = [
        Wish { known: vec![other.clone()], ..Wish::default() },
        Wish { join: Some(target(None)), known: vec![named.clone()], ..Wish::default() },
        Wish { join: Some(target(Some("a token"))), known: vec![named], ..Wish::default() },
        Wish { token: token(), known: vec![own.clone()], ..Wish::default() },
        Wish { token: token(), known: vec![own, other], ..Wish::default() },
        Wish { alone: true, ..Wish::default() },
    ];

    type Row<'a> = (&'a str, &'a dyn Fn() -> Pair, bool, [&'a str; 6]);
    let (late_worker, late_manager) =
        (|| Pair::Expired(worker.clone(), over()), || Pair::Expired(manager.clone(), over()));
    let (no_root, no_root_of_manager) =
        (|| Pair::Unverified(member(NodeRole::Worker)), || Pair::Unverified(member(NodeRole::Manager)));
    #[rustfmt::skip]
    let table: [Row<'_>; 8] = [
        //                                        (told no more)  an address      and a token     a token alone  a token and others  alone
        ("nothing", &|| Pair::None, false,       ["founds",      "joins",        "joins",        "no address",  "no address",  "not alone"]),
        ("a log", &|| Pair::None, true,          ["no identity", "no identity",  "no identity",  "no identity", "no identity", "not alone"]),
        ("no root", &no_root, false,             ["founds",      "learns root",  "learns root",  "no address",  "no address",  "not alone"]),
        ("no root, a log", &no_root_of_manager, true,
                                                 ["no identity", "learns root",  "learns root",  "no identity", "no identity", "not alone"]),
        ("worker", &|| Pair::Good(worker.clone()), false,
                                                 ["goes on",     "goes on",      "goes on",      "goes on",     "goes on",     "not alone"]),
        ("manager", &|| Pair::Good(manager.clone()), true,
                                                 ["goes on",     "goes on",      "goes on",      "goes on",     "goes on",     "goes on"]),
        ("late worker", &late_worker, false,     ["expired",     "expired",      "comes back",   "expired",     "comes back",  "not alone"]),
        ("late manager", &late_manager, true,    ["expired",     "expired",      "comes back",   "expired",     "comes back",  "goes on"]),
    ];
    for (name, pair, log, outcomes) in table {
        let found: Vec<_> = wishes.iter().map(|wish| outcome(pair(), log, wish)).collect();
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
    let known = vec![Remote { node: Some("m".into()), address: "m:1".to_owned() }];
    let knowing = Wish { known, external_cas: authorities.clone(), ..Wish::default() };
    assert_eq!(outcome(manager(), false, &knowing), "goes on", "it knows other managers");
    assert_eq!(outcome(own(NodeRole::Worker), false, &named), "goes on", "it is a worker");
    let target = Some(Target { address: "m:1".to_owned(), token: None });
    let joining = Wish { external_cas: authorities, join: target, ..Wish::default() };
    assert_eq!(outcome(manager(), false, &joining), "goes on", "it is to join");
    assert_eq!(outcome(Pair::None, false, &named), "founds", "with a root of its own");
}
