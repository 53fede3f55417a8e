//! The figures, one file for each subject.
mod build;
mod e2e;
mod embed;
pub(crate) mod idle;
mod start;

use crate::figure::{Figure, Unit};

/// Every figure, in the order in which they are measured.
pub(crate) static FIGURES: &[Figure] = &[
    Figure {
        id: "start.first_call",
        meaning: "swarmd started on an empty state directory, to the first accepted control call",
        unit: Unit::Milliseconds,
        limit: Some(150.0),
        upstream: Some("90 to 240 ms"),
        repeats: 20,
        for_information: false,
        run: start::first_call,
    },
    Figure {
        id: "start.restart",
        meaning: "the same on existing state with 1,000 services (none of which asks for tasks)",
        unit: Unit::Milliseconds,
        limit: Some(400.0),
        upstream: None,
        repeats: 10,
        for_information: false,
        run: start::restart,
    },
    Figure {
        id: "embed.ready",
        meaning: "in a program's own process: Node::builder called on an empty directory, to the first task RUNNING; inert \
                  executor",
        unit: Unit::Milliseconds,
        limit: Some(150.0),
        upstream: None,
        repeats: 20,
        for_information: false,
        run: embed::ready,
    },
    Figure {
        id: "e2e.create_to_running",
        meaning: "CreateService with one replica, to its task RUNNING; process executor, idle node",
        unit: Unit::Milliseconds,
        limit: Some(25.0),
        upstream: None,
        repeats: 50,
        for_information: false,
        run: e2e::create_to_running,
    },
    Figure {
        id: "e2e.processes_500",
        meaning: "CreateService with 500 replicas of sleep, to all of them RUNNING; process executor, idle node",
        unit: Unit::Seconds,
        limit: Some(5.0),
        upstream: None,
        repeats: 3,
        for_information: false,
        run: e2e::processes_500,
    },
    Figure {
        id: "idle.rss",
        meaning: "resident memory after 60 s without anything to do; one node, no services, all its processes",
        unit: Unit::Megabytes,
        limit: Some(30.0),
        upstream: Some("37 to 39 MB"),
        repeats: 3,
        for_information: false,
        run: idle::rss,
    },
    Figure {
        id: "idle.cpu",
        meaning: "share of one core over these 60 s",
        unit: Unit::Percent,
        limit: Some(0.5),
        upstream: Some("0.1 %"),
        repeats: 3,
        for_information: false,
        run: idle::cpu,
    },
    Figure {
        id: "build.cold",
        meaning: "`cargo build --release` into an empty target directory, sources downloaded before",
        unit: Unit::Seconds,
        limit: None,
        upstream: None,
        repeats: 1,
        for_information: true,
        run: build::cold,
    },
];
