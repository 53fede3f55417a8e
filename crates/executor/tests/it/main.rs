//! The suite, run against the executor that does nothing.

mod broken;

use std::time::{Duration, SystemTime};

use swarmkit_api::wire;
use swarmkit_executor::{
    Behaviour, Ending, InertExecutor, LogSource, Machine, PROCESS_IMAGE, Usage,
    conformance::{self, Ability, Act, Suite},
    container_spec,
};
use swarmkit_runtime::Env;

/// A specification that carries the act as its only argument; see [`behaviour`].
fn spec(act: Act) -> wire::TaskSpec {
    let (word, number, code) = match act {
        Act::Exits(code) => ("exits", 0, code),
        Act::ExitsAfter(milliseconds, code) => ("exits", milliseconds, code),
        Act::Signalled => ("signalled", 0, 0),
        Act::Chatters(lines) => ("chatters", lines, 0),
        Act::Stubborn => ("stubborn", 0, 0),
        Act::Prints => ("prints", 0, 0),
        Act::Impossible => ("impossible", 0, 0),
        Act::Unwell => ("unwell", 0, 0),
        _ => ("runs", 0, 0),
    };
    let args = vec![word.to_owned(), number.to_string(), code.to_string()];
    let container = wire::ContainerSpec { image: PROCESS_IMAGE.into(), args, ..Default::default() };
    wire::TaskSpec { runtime: Some(wire::task_spec::Runtime::Container(container)), ..Default::default() }
}

fn behaviour(task: &swarmkit_api::Task) -> Behaviour {
    let args = &container_spec(&task.spec).expect("made by spec").args;
    let number = |n: usize| args[n].parse::<i32>().expect("made by spec");
    let millis = Duration::from_millis;
    let usage = Usage { cpu: Some(millis(70)), pids: Some(1), ..Usage::at(SystemTime::UNIX_EPOCH) };
    let default = Behaviour { prepare: millis(20), start: millis(20), usage: Some(usage), ..Behaviour::default() };
    match args[0].as_str() {
        "exits" => {
            let after = Duration::from_millis(number(1).unsigned_abs().into());
            Behaviour { ending: Ending::After(after, number(2)), ..default }
        }
        "signalled" => {
            let output = vec![(LogSource::Stdout, "ready".to_owned())];
            Behaviour { output, stopped_with: Some(7), ..default }
        }
        "chatters" => {
            let output = (0..number(1)).map(|line| (LogSource::Stdout, line.to_string())).collect();
            Behaviour { output, ending: Ending::After(Duration::ZERO, 0), ..default }
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

#[tokio::test(start_paused = true)]
async fn what_an_executor_is_without_is_named_in_the_report() {
    let machine = Machine::new(Env::real());
    let open =
        async || InertExecutor::on(machine.clone()).behaving(|task| Behaviour { usage: None, ..behaviour(task) });
    let told = Suite::new(open, spec).report().await;
    assert_eq!(told.failed.len(), 1, "{told}");
    assert!(told.failed[0].1.contains("Unsupported"), "what is not there is never passed over: {told}");

    let report = Suite::new(open, spec).without(Ability::Usage, "nothing is used").run().await;
    assert_eq!(report.skipped, [("what_a_task_uses_is_told_while_it_runs", "nothing is used".to_owned())]);
    assert_eq!(report.passed.len() + 1, conformance::CHECKS.len());
    assert!(report.to_string().ends_with(&format!("{} passed, 0 failed, 1 skipped", report.passed.len())));
}

#[tokio::test(start_paused = true)]
async fn parts_of_the_suite_can_be_run() {
    let machine = Machine::new(Env::real());
    let open = async || InertExecutor::on(machine.clone()).behaving(behaviour);
    let name = "an_exit_code_is_reported_also_long_after_and_again";
    let report = Suite::new(open, spec).only([name]).run().await;
    assert_eq!((report.passed, report.skipped), (vec![name], vec![]));
}
