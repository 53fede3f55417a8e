//! Places for strangers: who has to leave for whom.

use super::*;

fn addr(host: u8) -> Option<SocketAddr> {
    Some(SocketAddr::from(([10, 0, 0, host], 1)))
}

const LEAST: Duration = Duration::from_secs(1);

fn strangers(per_address: usize, max: usize) -> Strangers {
    let limits = StrangerLimits { visits_per_address: per_address, visits_max: max, ..Default::default() };
    Strangers::new(StrangerLimits { visit_least: LEAST, ..limits })
}

async fn arrive<const COUNT: usize>(strangers: &Strangers, host: u8) -> [Visit; COUNT] {
    let mut visits = Vec::new();
    for _ in 0..COUNT {
        visits.push(strangers.arrive(addr(host)).await);
    }
    visits.try_into().ok().unwrap()
}

fn are_over<const COUNT: usize>(visits: &[Visit; COUNT]) -> [bool; COUNT] {
    std::array::from_fn(|number| visits[number].over.is_cancelled())
}

#[tokio::test(start_paused = true)]
async fn one_stranger_too_many_of_an_address_ends_the_oldest_of_that_address_only() {
    let strangers = strangers(2, 10);
    let other = arrive::<1>(&strangers, 2).await;
    let handshaking = arrive::<1>(&strangers, 1).await;
    let visits = arrive::<4>(&strangers, 1).await;
    other.iter().chain(&visits).for_each(Visit::is_strangers);
    assert_eq!(are_over(&visits), [true, true, false, false]);
    assert_eq!((are_over(&other), are_over(&handshaking)), ([false], [false]));
    assert_eq!(strangers.visits(), 4);
}

#[tokio::test(start_paused = true)]
async fn one_too_many_in_all_ends_the_oldest_of_the_address_that_has_the_most() {
    let strangers = strangers(10, 4);
    let quiet = arrive::<1>(&strangers, 1).await;
    let busy = arrive::<3>(&strangers, 2).await;
    tokio::time::sleep(LEAST).await;
    let come = (arrive::<1>(&strangers, 3).await, arrive::<1>(&strangers, 4).await);
    assert_eq!(are_over(&busy), [true, true, false]);
    assert_eq!((are_over(&quiet), are_over(&come.0), are_over(&come.1)), ([false], [false], [false]));
    assert_eq!(strangers.visits(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_comes_at_once_waits_for_its_turn_and_nobody_is_cut_off() {
    let strangers = strangers(2, 2);
    let begin = Instant::now();
    let mut served = 0;
    let mut under_way = Vec::from(arrive::<2>(&strangers, 1).await);
    for host in 0..100 {
        let arrived = strangers.arrive(addr(host));
        let finished = async {
            tokio::time::sleep(LEAST / 100).await;
            drop(under_way.remove(0));
            served += 1;
        };
        let (arrived, ()) = tokio::join!(biased; arrived, finished);
        assert!(!under_way.iter().any(|visit| visit.over.is_cancelled()));
        under_way.push(arrived);
    }
    assert_eq!((served, strangers.visits()), (100, 2));
    assert_eq!(begin.elapsed(), LEAST, "each came in when another one was done");
}

#[tokio::test(start_paused = true)]
async fn who_only_holds_its_place_loses_it_when_its_time_is_over() {
    let strangers = strangers(2, 2);
    let begin = Instant::now();
    let silent = arrive::<2>(&strangers, 1).await;
    let come = arrive::<1>(&strangers, 2).await;
    assert_eq!(begin.elapsed(), LEAST);
    assert_eq!((are_over(&silent), are_over(&come)), ([true, false], [false]));
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_makes_room_also_one_whose_place_was_taken() {
    let strangers = strangers(1, 10);
    let [first, second] = arrive::<2>(&strangers, 1).await;
    first.is_strangers();
    second.is_strangers();
    assert!(first.over.is_cancelled());
    assert_eq!(strangers.visits(), 1);
    drop(first);
    assert!(!second.over.is_cancelled());
    assert_eq!(strangers.visits(), 1);
    drop(second);
    assert_eq!(strangers.visits(), 0);
    assert!(strangers.taken.lock().visits.is_empty(), "nothing is kept of an address without connections");
}

#[test]
fn questions_that_wait_are_counted_for_each_address_and_in_all() {
    let limits = StrangerLimits { waits_per_address: 2, waits_max: 3, ..Default::default() };
    let strangers = Strangers::new(limits);
    let ask = |host| strangers.wait(Block::of(addr(host)));
    let (first, _second) = (ask(1), ask(1));
    assert!(first.is_some() && ask(1).is_none(), "for each address");
    let _other = ask(2);
    assert!(ask(3).is_none(), "in all");
    drop(first);
    drop(ask(1).expect("its place is free"));
    assert!(ask(3).is_some());
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_done_is_looked_at_however_often_others_have_failed() {
    let strangers = Strangers::new(StrangerLimits { asked_at_once: 3, ..Default::default() });
    let peer = Peer { identity: None, addr: addr(1), local: false, forwarded_by: None };
    let method = |name: &str| swarmkit_api::access::method(&format!("/docker.swarmkit.v1.{name}")).unwrap();
    let answered = async |peer: &Peer, name: &str, answer: Code| {
        let answer = std::future::ready(Status::new(answer, "").into_http());
        let answer = strangers.answered(peer, method(name), answer).await;
        Status::from_header_map(answer.headers()).unwrap().code()
    };
    let (issue, roots) = ("NodeCA/IssueNodeCertificate", "CA/GetRootCACertificate");
    for _ in 0..3 {
        assert_eq!(answered(&peer, issue, Code::InvalidArgument).await, Code::InvalidArgument);
    }
    assert_eq!(answered(&peer, issue, Code::InvalidArgument).await, Code::ResourceExhausted, "it has failed too often");
    assert_eq!(answered(&peer, issue, Code::Unavailable).await, Code::Unavailable, "what is not its fault is told");
    assert_eq!(answered(&peer, roots, Code::Ok).await, Code::ResourceExhausted);
    assert_eq!(answered(&peer, issue, Code::Ok).await, Code::Ok, "and yet is served if it is right");
    for expected in [Code::Ok, Code::Ok, Code::Ok, Code::ResourceExhausted] {
        assert_eq!(answered(&peer, roots, Code::Ok).await, expected, "who is served may ask what became of it");
    }
    let elsewhere = Peer { addr: addr(2), ..peer.clone() };
    assert_eq!(answered(&elsewhere, roots, Code::Ok).await, Code::Ok);
    let passed_on = Peer { forwarded_by: Some("m".into()), ..peer };
    assert_eq!(answered(&passed_on, roots, Code::Ok).await, Code::Ok, "it was counted where it arrived");
}
