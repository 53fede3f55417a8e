//! The enforcer: who has to leave a node that no longer fits.

use wire::node_spec::Availability;

use super::{stage::Stage, *};

fn rejected(stage: &Stage) -> Vec<String> {
    let rejected = stage.tasks().into_iter().filter(|task| task.status.state == TaskState::Rejected);
    rejected
        .map(|task| {
            assert_eq!(task.status.message, "task rejected by constraint enforcer");
            assert_eq!(task.status.err, "assigned node no longer meets constraints");
            assert!(task.status.timestamp.is_some());
            task.id.to_string()
        })
        .collect()
}

/// A stage that nobody plays on, so that what is rejected stays where it is.
async fn enforced(text: &str, change: impl FnOnce(&mut Node)) -> Vec<String> {
    let mut stage = Stage::open(text).await;
    edit_node(&stage.store, "a", change);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    stage.stubborn = vec!["image"];
    let rejected = rejected(&stage);
    stage.close().await;
    rejected
}

fn relabel(node: &mut Node) {
    Arc::make_mut(&mut node.spec).annotations.get_or_insert_default().labels.insert("disk".into(), "tape".into());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_loses_its_label_loses_the_tasks_that_need_it() {
    let text = "node a label:disk=ssd; service web replicas=1 constraint=node.labels.disk==ssd restart=none; service any replicas=1 restart=none
                task web.1 on a; task any.1 on a";
    assert_eq!(enforced(text, relabel).await, ["web.1"]);
    let paused = |node: &mut Node| {
        relabel(node);
        set_availability(node, Availability::Pause);
    };
    assert_eq!(enforced(text, paused).await, [""; 0], "a paused node is left alone");
}

#[tokio::test(start_paused = true)]
async fn at_its_start_the_enforcer_looks_at_every_node() {
    let stage = Stage::open(
        "node a; node b label:disk=ssd; service web replicas=2 constraint=node.labels.disk==ssd restart=none
         task web.1 on a; task web.2 on b",
    )
    .await;
    assert_eq!(rejected(&stage), ["web.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_shrinks_keeps_the_tasks_that_were_there_first() {
    let shrink = |node: &mut Node| {
        let description = Arc::make_mut(node.description.as_mut().unwrap());
        description.resources.as_mut().unwrap().memory_bytes = 2 << 30;
    };
    let text = "node a memory=4GiB; service web replicas=3 memory=1GiB restart=none
                task web.1 on a; task web.2 on a; task web.3 on a";
    assert_eq!(enforced(text, shrink).await, ["web.3"]);
    let done = text.replace("web.1 on a;", "web.1 on a complete;");
    assert_eq!(enforced(&done, shrink).await, [""; 0], "what is over reserves nothing");
}

#[tokio::test(start_paused = true)]
async fn what_is_rejected_is_placed_elsewhere() {
    let mut stage = Stage::open("node a label:disk=ssd; service web replicas=1 constraint=node.labels.disk==ssd").await;
    assert_eq!(stage.told(), ["web.1 running"]);
    stage.edit_node("a", relabel).await;
    stage.amend("node b label:disk=ssd").await;
    stage.pass(Duration::from_secs(5)).await;
    assert_eq!(stage.told(), ["web.1 running"]);
    assert_eq!(stage.tasks().last().unwrap().node_id, Some("b".into()));
}
