//! The suite, run against the executor that does nothing.

use std::time::Duration;

use swarmkit_api::wire;
use swarmkit_executor::{
    Behaviour, Ending, InertExecutor, LogSource, Machine, PROCESS_IMAGE,
    conformance::{self, Act},
    container_spec,
};
use swarmkit_runtime::Env;

/// A specification that carries the act as its only argument; see [`behaviour`].
fn spec(act: Act) -> wire::TaskSpec {
    let (word, milliseconds, code) = match act {
        Act::Exits(code) => ("exits", 0, code),
        Act::ExitsAfter(milliseconds, code) => ("exits", milliseconds, code),
        Act::Stubborn => ("stubborn", 0, 0),
        Act::Prints => ("prints", 0, 0),
        Act::Impossible => ("impossible", 0, 0),
        Act::Unwell => ("unwell", 0, 0),
        _ => ("runs", 0, 0),
    };
    let args = vec![word.to_owned(), milliseconds.to_string(), code.to_string()];
    let container = wire::ContainerSpec { image: PROCESS_IMAGE.into(), args, ..Default::default() };
    wire::TaskSpec { runtime: Some(wire::task_spec::Runtime::Container(container)), ..Default::default() }
}

fn behaviour(task: &swarmkit_api::Task) -> Behaviour {
    let args = &container_spec(&task.spec).expect("made by spec").args;
    let number = |n: usize| args[n].parse::<i32>().expect("made by spec");
    let default =
        Behaviour { prepare: Duration::from_millis(20), start: Duration::from_millis(20), ..Behaviour::default() };
    match args[0].as_str() {
        "exits" => {
            let after = Duration::from_millis(number(1).unsigned_abs().into());
            Behaviour { ending: Ending::After(after, number(2)), ..default }
        }
        "stubborn" => Behaviour { ignores_stop: true, ..default },
        "prints" => {
            let output = vec![(LogSource::Stdout, "out".to_owned()), (LogSource::Stderr, "err".to_owned())];
            Behaviour { output, ..default }
        }
        "unwell" => Behaviour { unhealthy: Some("unhealthy".into()), ..default },
        "impossible" => Behaviour { impossible: Some("no such program".into()), ..default },
        _ => default,
    }
}

#[tokio::test(start_paused = true)]
async fn the_inert_executor_keeps_every_obligation() {
    let machine = Machine::new(Env::real());
    conformance::all(async || InertExecutor::on(machine.clone()).behaving(behaviour), spec).await;
    assert_eq!(machine.running(), 0);
}
