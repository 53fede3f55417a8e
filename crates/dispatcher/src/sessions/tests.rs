//! The session table by itself, on a clock of numbers.

use rand::{RngExt as _, SeedableRng as _};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn sessions(config: DispatcherConfig) -> Sessions {
    Sessions::new(config, SmallRng::seed_from_u64(7))
}

fn node(name: &str) -> NodeId {
    NodeId::from(name)
}

fn managers() -> ManagerList {
    Arc::from([])
}

/// Admits and registers a member.
fn register(sessions: &mut Sessions, name: &str, id: &str, now: Instant) -> Arc<Session> {
    drop(sessions.admit(&node(name), || true, now).unwrap());
    sessions.register(&node(name), id.into(), &managers(), now).unwrap()
}

#[test]
fn a_period_is_drawn_anew_every_time_and_stays_within_its_bounds() {
    let mut sessions = sessions(DispatcherConfig::default());
    let drawn: BTreeSet<_> = (0..1000).map(|_| sessions.draw_period()).collect();
    assert!(drawn.len() > 100);
    assert!(*drawn.first().unwrap() >= Duration::from_millis(4500));
    assert!(*drawn.last().unwrap() < Duration::from_millis(5500));
}

#[test]
fn without_jitter_a_period_is_exactly_what_was_asked_for() {
    let config = DispatcherConfig { heartbeat_epsilon: Duration::ZERO, ..DispatcherConfig::default() };
    let mut sessions = sessions(config);
    sessions.set_period(3 * SECOND);
    assert_eq!(sessions.draw_period(), 3 * SECOND);
    sessions.set_period(Duration::ZERO);
    assert_eq!(sessions.draw_period(), 5 * SECOND);
}

#[test]
fn a_period_shorter_than_its_jitter_is_never_zero() {
    let mut sessions = sessions(DispatcherConfig::default());
    sessions.set_period(Duration::from_millis(1));
    for _ in 0..100 {
        assert!(!sessions.draw_period().is_zero());
    }
}

#[test]
fn a_change_of_the_period_leaves_the_present_deadline_alone() {
    let config = DispatcherConfig { heartbeat_epsilon: Duration::ZERO, ..DispatcherConfig::default() };
    let mut sessions = sessions(config);
    let now = Instant::now();
    register(&mut sessions, "a", "1", now);
    sessions.set_period(60 * SECOND);
    assert_eq!(sessions.next_due(), Some(now + 15 * SECOND));
    sessions.beat(&node("a"), "1", now).unwrap();
    assert_eq!(sessions.next_due(), Some(now + 180 * SECOND));
}

#[test]
fn a_node_that_is_being_registered_is_not_taken_for_silent() {
    let mut sessions = sessions(DispatcherConfig::default());
    let now = Instant::now();
    register(&mut sessions, "a", "1", now);
    let late = now + 12 * SECOND;
    drop(sessions.admit(&node("a"), || true, late).unwrap());
    assert_eq!(sessions.due(late + 10 * SECOND), []);
}

#[test]
fn a_node_whose_registration_is_under_way_is_alive_however_long_that_takes() {
    let mut sessions = sessions(DispatcherConfig::default());
    let mut now = Instant::now();
    let under_way = sessions.admit(&node("a"), || true, now).unwrap();
    for _ in 0..10 {
        now = sessions.next_due().unwrap();
        assert_eq!(sessions.due(now), []);
    }
    drop(under_way);
    now = sessions.next_due().unwrap();
    assert_eq!(sessions.due(now), [Due::Down { node: node("a"), unknown: false }]);
}

#[test]
fn nodes_get_their_time_again_when_nobody_was_there_to_hear_them() {
    let mut sessions = sessions(DispatcherConfig::default());
    let now = Instant::now();
    register(&mut sessions, "a", "1", now);
    register(&mut sessions, "b", "2", now);
    let late = now + 60 * SECOND;
    assert_eq!(sessions.due(late), []);
    sessions.beat(&node("a"), "1", late + SECOND).unwrap();
    let next = sessions.next_due().unwrap();
    assert!(next >= late + 3 * Duration::from_millis(4500) && next < late + 17 * SECOND);
    assert_eq!(sessions.due(next), [Due::Down { node: node("b"), unknown: false }]);
}

#[test]
fn a_registration_that_came_too_late_has_to_begin_again() {
    let mut sessions = sessions(DispatcherConfig::default());
    let now = Instant::now();
    drop(sessions.admit(&node("a"), || true, now).unwrap());
    let late = sessions.next_due().unwrap();
    assert_eq!(sessions.due(late), [Due::Down { node: node("a"), unknown: false }]);
    let late = sessions.register(&node("a"), "1".into(), &managers(), late);
    assert!(matches!(late, Err(DispatcherError::NotRegistered)));
}

#[test]
fn a_registration_that_is_never_finished_ends_as_a_silent_node() {
    let mut sessions = sessions(DispatcherConfig::default());
    let now = Instant::now();
    sessions.expect(&node("a"), now);
    drop(sessions.admit(&node("a"), || true, now + 20 * SECOND).unwrap());
    let late = sessions.next_due().unwrap();
    assert_eq!(sessions.due(late), [Due::Down { node: node("a"), unknown: true }]);
}

#[test]
fn an_attempt_to_register_never_shortens_the_time_that_a_node_has() {
    let mut sessions = sessions(DispatcherConfig::default());
    let now = Instant::now();
    sessions.expect(&node("a"), now);
    let before = sessions.next_due();
    drop(sessions.admit(&node("a"), || true, now).unwrap());
    assert_eq!(sessions.next_due(), before);
}

#[test]
fn who_is_no_member_leaves_no_trace() {
    let mut sessions = sessions(DispatcherConfig::default());
    let refused = sessions.admit(&node("x"), || false, Instant::now());
    assert!(matches!(refused, Err(DispatcherError::NodeNotFound)));
    assert_eq!((sessions.known().count(), sessions.next_due()), (0, None));
}

#[test]
fn a_node_that_was_removed_is_never_due() {
    let mut sessions = sessions(DispatcherConfig::default());
    let now = Instant::now();
    let session = register(&mut sessions, "a", "1", now);
    sessions.expect_down(&node("b"), SECOND, now);
    sessions.remove(&node("a"));
    sessions.remove(&node("b"));
    assert_eq!(sessions.next_due(), None);
    assert!(matches!(session.end_reason(), Some(DispatcherError::NotRegistered)));
}

#[test]
fn the_end_of_a_session_is_told_once_and_with_its_first_reason() {
    let mut sessions = sessions(DispatcherConfig::default());
    let now = Instant::now();
    let first = register(&mut sessions, "a", "1", now);
    assert!(first.end_reason().is_none());
    let second = register(&mut sessions, "a", "2", now);
    sessions.end_all();
    assert!(matches!(first.end_reason(), Some(DispatcherError::SessionInvalid)));
    assert!(matches!(second.end_reason(), Some(DispatcherError::MustDisconnect)));
}

/// Whatever nodes do, each known node has exactly one deadline, and no node that has called in time is due.
#[test]
fn deadlines_and_nodes_always_match() {
    let mut rng = SmallRng::seed_from_u64(3);
    let config = DispatcherConfig { registrations: 1000, ..DispatcherConfig::default() };
    let mut sessions = sessions(config);
    let mut now = Instant::now();
    let mut heard: BTreeMap<NodeId, Instant> = BTreeMap::new();
    for step in 0..20_000 {
        let name = format!("n{}", rng.random_range(0..20));
        match rng.random_range(0..10) {
            0 => {
                register(&mut sessions, &name, &step.to_string(), now);
                heard.insert(node(&name), now);
            }
            1 => {
                sessions.remove(&node(&name));
                heard.remove(&node(&name));
            }
            2..=6 => {
                let id =
                    sessions.nodes.get(&node(&name)).and_then(|entry| entry.session.as_ref()).map(|s| s.id.clone());
                if let Some(id) = id {
                    sessions.beat(&node(&name), &id, now).unwrap();
                    heard.insert(node(&name), now);
                }
            }
            _ => now += Duration::from_millis(rng.random_range(0..900)),
        }
        for due in sessions.due(now) {
            let (Due::Down { node, .. } | Due::Lost(node)) = due;
            let silent = now - heard.remove(&node).expect("only nodes that were heard of fall silent");
            assert!(silent >= 3 * Duration::from_millis(4500), "{node} was given up after {silent:?}");
        }
        let expected: BTreeSet<_> = sessions.nodes.iter().map(|(id, entry)| (entry.deadline, id.clone())).collect();
        assert_eq!(sessions.deadlines, expected);
        let expected: BTreeSet<_> = sessions.down.iter().map(|(id, until)| (*until, id.clone())).collect();
        assert_eq!(sessions.down_deadlines, expected);
    }
}
