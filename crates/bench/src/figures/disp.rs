//! What agents cost their manager: sessions that stand, that are lost and taken up again, and what is told over them.

mod change;
mod fleet;
mod reconnect;
mod sessions;

pub(crate) use self::sessions::Sessions;
use crate::{
    figure::{Figure, Run, Unit},
    figures::e2e,
};

const fn claimed(id: &'static str, meaning: &'static str, unit: Unit, limit: f64, repeats: u32, run: Run) -> Figure {
    Figure { id, meaning, unit, limit: Some(limit), upstream: None, repeats, for_information: false, run }
}

const fn told(id: &'static str, meaning: &'static str, unit: Unit, repeats: u32, run: Run) -> Figure {
    Figure { id, meaning, unit, limit: None, upstream: None, repeats, for_information: true, run }
}

/// The same of upstream, from its own measurement.
const fn beside(figure: Figure, upstream: &'static str) -> Figure {
    Figure { upstream: Some(upstream), ..figure }
}

const CHANGE: &str = "a task is assigned to a node, told to it, and its status written: all work of the process for it, with \
                      so many nodes that have sessions; dispatcher on a store without replication, agents without sockets";

/// The figures of sessions.
pub(crate) static FIGURES: &[Figure] = &[
    beside(
        claimed(
            "disp.sessions_10k",
            "share of one core that a manager with 10,000 sessions uses, all over mutual TLS, each with the three streams of \
             an agent and a heartbeat every 5 s; a sample is a minute. No node is ever taken for down, or there is no figure",
            Unit::Percent,
            25.0,
            10,
            sessions::processor,
        ),
        "78 % for 5,000",
    ),
    beside(
        claimed(
            "disp.session_bytes",
            "memory that this manager has grown by for each session since it was started, the nodes in its store included",
            Unit::Bytes,
            65_536.0,
            1,
            sessions::memory,
        ),
        "141 kB",
    ),
    claimed(
        "disp.reconnect_10k",
        "the leader of three managers killed, to 10,000 agents having a session with the next one; mutual TLS, inert executor",
        Unit::Seconds,
        10.0,
        3,
        reconnect::reconnect,
    ),
    claimed(
        "disp.push_100k",
        "CreateService with 100,000 replicas, to all of them RUNNING on 1,000 agents; as e2e.10k_on_1000",
        Unit::Seconds,
        10.0,
        3,
        e2e::replicas_on::<100_000, 1000>,
    ),
    told("disp.change_100", CHANGE, Unit::Microseconds, 5, change::among::<100>),
    told("disp.change_1k", CHANGE, Unit::Microseconds, 5, change::among::<1000>),
    told("disp.change_10k", CHANGE, Unit::Microseconds, 5, change::among::<10_000>),
];
