//! Each object behaves as if operations on it took place one after the other, each at one moment between its call and
//! its return (Herlihy and Wing). Objects are independent, so each history is judged by itself.
//!
//! The search is that of Wing and Gong, with Lowe's memory of what was tried: take any operation that nobody preceded,
//! see whether its answer fits, go on; never twice from the same set of operations and the same value.

use std::collections::BTreeSet;

use super::broken;

const NAME: &str = "linearizability";

/// The most steps of one search. What is not decided by then is counted, not called right.
const STEPS: usize = 2_000_000;

/// What an object holds; nothing if it does not exist.
pub type Value = Option<u64>;

/// What a client did to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It looked, and saw this.
    Read(Value),
    /// It wrote `new`. If the outcome is known, it knows what it replaced.
    Swap {
        /// What it wrote.
        new: Value,
        /// What was there before; nothing if it is not known whether the write took place.
        old: Option<Value>,
    },
}

/// One operation, with moments that order all calls and returns of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// When it was called.
    pub call: u64,
    /// When it returned. Nothing if nobody knows whether it took place: it may have, at any time after the call.
    pub back: Option<u64>,
    /// What it did.
    pub action: Action,
}

impl Operation {
    /// What whoever called it found.
    fn seen(&self) -> Option<Value> {
        match self.action {
            Action::Read(value) => Some(value),
            Action::Swap { old, .. } => old,
        }
    }
}

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// There is an order.
    Linearizable,
    /// There is none.
    Not,
    /// It would take too many steps to tell.
    Undecided,
}

/// Judges the history of one object, which did not exist in the beginning.
#[must_use]
pub fn decide(history: &[Operation]) -> Decision {
    let seen: BTreeSet<Value> = history.iter().filter_map(|operation| operation.seen()).collect();
    // A write of unknown fate whose value nobody saw explains nothing: it may as well never have taken place.
    let explains = |operation: &&Operation| match operation.action {
        Action::Swap { new, .. } if operation.back.is_none() => seen.contains(&new),
        _ => true,
    };
    let mut operations: Vec<Operation> = history.iter().filter(explains).copied().collect();
    operations.sort_by_key(|operation| operation.call);
    let mut search = Search { operations: &operations, tried: BTreeSet::new(), steps: 0 };
    search.run()
}

/// Judges the history of the object `key`, and tells whether it could be decided.
///
/// # Errors
///
/// There is no order.
pub fn check(key: &str, history: &[Operation]) -> Result<bool, super::Broken> {
    match decide(history) {
        Decision::Linearizable => Ok(true),
        Decision::Undecided => Ok(false),
        Decision::Not => {
            let what = format!("{key}: no order explains {} operations: {}", history.len(), shown(history));
            broken(NAME, what).map(|()| true)
        }
    }
}

fn shown(history: &[Operation]) -> String {
    /// How many operations are shown.
    const SHOWN: usize = 40;
    // The shortest beginning that is already wrong says most.
    let mut returns: Vec<u64> = history.iter().filter_map(|operation| operation.back).collect();
    returns.sort_unstable();
    let wrong = returns.iter().map(|&time| until(history, time)).find(|known| decide(known) == Decision::Not);
    let mut shortest = wrong.unwrap_or_else(|| history.to_vec());
    shortest.sort_by_key(|operation| operation.call);
    let from = shortest.len().saturating_sub(SHOWN);
    let one = |operation: &Operation| {
        let back = operation.back.map_or_else(|| "?".to_owned(), |back| back.to_string());
        match operation.action {
            Action::Read(value) => format!("[{}-{back}] read {value:?}", operation.call),
            Action::Swap { new, old } => format!("[{}-{back}] write {new:?} over {old:?}", operation.call),
        }
    };
    shortest[from..].iter().map(one).collect::<Vec<_>>().join("; ")
}

/// What was known of a history at a moment: what had not returned then may be anything that was called.
fn until(history: &[Operation], time: u64) -> Vec<Operation> {
    let known = |operation: &Operation| match (operation.back, operation.action) {
        _ if operation.call > time => None,
        (Some(back), _) if back <= time => Some(*operation),
        (_, Action::Read(_)) => None,
        (_, Action::Swap { new, .. }) => {
            Some(Operation { back: None, action: Action::Swap { new, old: None }, ..*operation })
        }
    };
    history.iter().filter_map(known).collect()
}

struct Search<'a> {
    operations: &'a [Operation],
    tried: BTreeSet<(Vec<u64>, Value)>,
    steps: usize,
}

/// A point of the search: what has taken place, what the object holds, and which operation to try next.
struct Point {
    done: Vec<u64>,
    value: Value,
    next: usize,
}

impl Search<'_> {
    fn run(&mut self) -> Decision {
        let words = self.operations.len().div_ceil(64);
        let mut stack = vec![Point { done: vec![0; words], value: None, next: 0 }];
        while let Some(point) = stack.last_mut() {
            self.steps += 1;
            if self.steps > STEPS {
                return Decision::Undecided;
            }
            let Some(limit) = self.first_return(&point.done) else { return Decision::Linearizable };
            let Some((taken, value)) = self.candidate(point, limit) else {
                stack.pop();
                continue;
            };
            point.next = taken + 1;
            let mut done = point.done.clone();
            done[taken / 64] |= 1 << (taken % 64);
            if self.tried.insert((done.clone(), value)) {
                stack.push(Point { done, value, next: 0 });
            }
        }
        Decision::Not
    }

    /// When the first of those returned that have not taken place; nothing if all that returned have.
    fn first_return(&self, done: &[u64]) -> Option<u64> {
        let open = self.operations.iter().enumerate().filter(|(at, _)| !is_done(done, *at));
        open.filter_map(|(_, operation)| operation.back).min()
    }

    /// The next operation that may take place now, and what the object holds then.
    fn candidate(&self, point: &Point, limit: u64) -> Option<(usize, Value)> {
        let called = self.operations.iter().enumerate().skip(point.next);
        // They are sorted by their calls.
        let mut called = called.take_while(|(_, operation)| operation.call < limit);
        called.find_map(|(at, operation)| {
            let fits = match operation.action {
                _ if is_done(&point.done, at) => None,
                Action::Read(seen) => (seen == point.value).then_some(seen),
                Action::Swap { new, old } => old.is_none_or(|old| old == point.value).then_some(new),
            };
            fits.map(|value| (at, value))
        })
    }
}

fn is_done(done: &[u64], at: usize) -> bool {
    done[at / 64] & (1 << (at % 64)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `call-return action` each, separated by commas: `r5` reads 5, `w5` writes 5, `w5<4` writes 5 over 4, `_` is nothing.
    fn story(text: &str) -> Vec<Operation> {
        let value = |text: &str| if text == "_" { None } else { Some(text.parse().expect("a number")) };
        let one = |part: &str| {
            let (times, action) = part.trim().split_once(' ').expect("times and an action");
            let (call, back) = times.split_once('-').expect("two times");
            let action = match action.split_at(1) {
                ("r", seen) => Action::Read(value(seen)),
                (_, written) => match written.split_once('<') {
                    Some((new, old)) => Action::Swap { new: value(new), old: Some(value(old)) },
                    None => Action::Swap { new: value(written), old: None },
                },
            };
            Operation { call: call.parse().expect("a number"), back: back.parse().ok(), action }
        };
        text.split(',').map(one).collect()
    }

    fn check_story(text: &str, expected: Decision) {
        assert_eq!(decide(&story(text)), expected, "{text}");
    }

    #[test]
    fn one_after_the_other() {
        check_story("0-1 w1<_, 2-3 r1, 4-5 w2<1, 6-7 r2, 8-9 w_<2, 10-11 r_", Decision::Linearizable);
        check_story("0-1 w1<_, 2-3 r_", Decision::Not);
    }

    #[test]
    fn operations_at_the_same_time_may_take_either_order() {
        check_story("0-5 w1<_, 1-4 r_", Decision::Linearizable);
        check_story("0-5 w1<_, 1-4 r1", Decision::Linearizable);
        check_story("0-5 w1<2, 1-6 w2<_, 7-8 r1", Decision::Linearizable);
        check_story("0-5 w1<2, 1-6 w2<_, 7-8 r2", Decision::Not);
    }

    #[test]
    fn who_saw_the_new_value_is_never_followed_by_one_who_sees_the_old() {
        check_story("0-9 w1<_, 1-2 r1, 3-4 r_", Decision::Not);
        check_story("0-9 w1<_, 1-2 r_, 3-4 r1", Decision::Linearizable);
    }

    #[test]
    fn a_write_of_unknown_fate_may_take_place_late_or_never() {
        check_story("0-? w1, 1-2 r_, 3-4 r_", Decision::Linearizable);
        check_story("0-? w1, 1-2 r_, 3-4 r1, 5-6 r1", Decision::Linearizable);
        check_story("0-? w1, 3-4 r1, 5-6 r_", Decision::Not);
    }

    #[test]
    fn a_value_that_nobody_wrote_fits_no_order() {
        check_story("0-1 w1<_, 2-3 r7", Decision::Not);
    }

    #[test]
    fn a_long_history_with_much_at_the_same_time_is_decided() {
        let mut history = Vec::new();
        for round in 0..60_u64 {
            let (at, base) = (round * 100, (round > 0).then(|| round * 10));
            history.push(Operation {
                call: at,
                back: Some(at + 50),
                action: Action::Swap { new: Some((round + 1) * 10), old: Some(base) },
            });
            history.extend((1..6).map(|n| Operation {
                call: at + n,
                back: Some(at + 60 + n),
                action: Action::Read(Some((round + 1) * 10)),
            }));
            history.push(Operation {
                call: at + 7,
                back: None,
                action: Action::Swap { new: Some(round * 10 + 1), old: None },
            });
        }
        assert_eq!(decide(&history), Decision::Linearizable);
        history.push(Operation { call: 9_000, back: Some(9_001), action: Action::Read(Some(30)) });
        assert_eq!(decide(&history), Decision::Not);
    }
}
