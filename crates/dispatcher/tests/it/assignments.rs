//! What a node is told to have.

use swarmkit_api::{Secret, TaskState, wire};
use tonic::Code;
use wire::{assignment::Item, assignment_change::AssignmentAction, assignments_message::Type};

use crate::world::{Reader, World, refusal};

/// What a message says, sorted: `+task w.1`, `-secret s`.
pub(crate) fn said(message: &wire::AssignmentsMessage) -> Vec<String> {
    let mut said: Vec<_> = message.changes.iter().map(change).collect();
    said.sort();
    said
}

fn change(change: &wire::AssignmentChange) -> String {
    let sign = if change.action() == AssignmentAction::Update { '+' } else { '-' };
    let item = match change.assignment.as_ref().unwrap().item.as_ref().unwrap() {
        Item::Task(task) => format!("task {}", task.id),
        Item::Secret(secret) => format!("secret {}", secret.id),
        Item::Config(config) => format!("config {}", config.id),
        Item::Volume(volume) => format!("volume {}", volume.id),
    };
    format!("{sign}{item}")
}

pub(crate) async fn listen(world: &World, node: &str) -> (Reader<wire::AssignmentsMessage>, Vec<String>) {
    let session = world.register(node).await;
    let mut stream = world.assignments(node, &session).await.unwrap();
    let first = stream.next().await;
    assert_eq!((first.r#type(), first.applies_to.as_str(), first.results_in.as_str()), (Type::Complete, "", "1"));
    let said = said(&first);
    (stream, said)
}

#[tokio::test(start_paused = true)]
async fn a_node_without_tasks_is_told_so() {
    let world = World::new("node a").await;
    assert_eq!(listen(&world, "a").await.1, [""; 0]);
    assert_eq!(refusal(world.assignments("a", "").await), (Code::InvalidArgument, "session invalid".into()));
}

#[tokio::test(start_paused = true)]
async fn a_node_gets_its_own_tasks_from_assigned_on_and_what_living_ones_need() {
    let world = World::new(
        "node a; node b; secret s=1; secret dead=2; secret other=3; config c=4; \
         service web secret=s config=c; service old secret=dead; service far secret=other; \
         task web.1 on a assigned; task web.2 on a running; task web.3 on a pending; task old.1 on a failed; \
         task far.1 on b running",
    )
    .await;
    let (_, said) = listen(&world, "a").await;
    assert_eq!(said, ["+config c", "+secret s", "+task old.1", "+task web.1", "+task web.2"]);
}

#[tokio::test(start_paused = true)]
async fn messages_follow_one_another_by_their_numbers() {
    let world = World::new("node a").await;
    let (mut stream, _) = listen(&world, "a").await;
    for n in 1..4 {
        world.amend(&format!("task w.{n} on a assigned"));
        let message = stream.next().await;
        assert_eq!(message.r#type(), Type::Incremental);
        assert_eq!((message.applies_to, message.results_in), (n.to_string(), (n + 1).to_string()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_comes_with_its_secret_and_the_secret_goes_with_the_last_task() {
    let world = World::new("node a; secret s=1; service web secret=s; task web.1; task web.2").await;
    let (mut stream, first) = listen(&world, "a").await;
    assert_eq!(first, [""; 0]);
    for (task, news) in [("web.1", vec!["+secret s", "+task web.1"]), ("web.2", vec!["+task web.2"])] {
        world
            .edit_task(task, |task| {
                task.node_id = Some("a".into());
                task.status.state = TaskState::Assigned;
            })
            .await;
        assert_eq!(said(&stream.next().await), news);
    }
    world.delete_task("web.1").await;
    assert_eq!(said(&stream.next().await), ["-task web.1"]);
    world.delete_task("web.2").await;
    assert_eq!(said(&stream.next().await), ["-secret s", "-task web.2"]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_leaves_the_node_when_its_last_task_has_ended() {
    let world = World::new("node a; secret s=1; service web secret=s; task web.1 on a running").await;
    let (mut stream, _) = listen(&world, "a").await;
    world.edit_task("web.1", |task| task.status.state = TaskState::Failed).await;
    assert_eq!(said(&stream.next().await), ["-secret s"]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_goes_to_no_node_that_does_not_use_it() {
    let world = World::new("node a; node b; secret s=1; service web secret=s; task web.1 on a running").await;
    let (mut stream, first) = listen(&world, "b").await;
    assert_eq!(first, [""; 0]);
    world.edit_task("web.1", |task| task.desired_state = TaskState::Shutdown).await;
    assert!(stream.is_silent().await);
}

#[tokio::test(start_paused = true)]
async fn a_dependency_that_does_not_exist_is_left_out_and_comes_with_the_next_task_that_needs_it() {
    let world = World::new("node a; service web secret=s; task web.1 on a assigned").await;
    let (mut stream, first) = listen(&world, "a").await;
    assert_eq!(first, ["+task web.1"]);
    world.amend("secret s=1");
    assert!(stream.is_silent().await);
    world.amend("task web.2 on a assigned");
    assert_eq!(said(&stream.next().await), ["+secret s", "+task web.2"]);
}

#[tokio::test(start_paused = true)]
async fn changing_or_deleting_a_secret_tells_nothing() {
    let world = World::new("node a; secret s=1; service web secret=s; task web.1 on a running").await;
    let (mut stream, _) = listen(&world, "a").await;
    world.write(|tx| tx.edit::<Secret>(&"s".into(), |secret| secret.internal = true)).await;
    world.write(|tx| tx.delete::<Secret>(&"s".into())).await;
    assert!(stream.is_silent().await);
}

#[tokio::test(start_paused = true)]
async fn what_the_node_reported_itself_is_no_news_to_it_but_what_managers_want_is() {
    let world = World::new("node a; task w.1 on a assigned").await;
    let (mut stream, _) = listen(&world, "a").await;
    world.edit_task("w.1", |task| task.status.state = TaskState::Running).await;
    assert!(stream.is_silent().await);
    world.edit_task("w.1", |task| task.desired_state = TaskState::Shutdown).await;
    assert_eq!(said(&stream.next().await), ["+task w.1"]);
}

#[tokio::test(start_paused = true)]
async fn what_came_and_went_before_the_node_asked_is_told_as_a_removal_only() {
    let world = World::new("node a; secret s=1; service web secret=s").await;
    let (mut stream, _) = listen(&world, "a").await;
    world.amend("task web.1 on a assigned");
    world.edit_task("web.1", |task| task.desired_state = TaskState::Shutdown).await;
    world.delete_task("web.1").await;
    assert_eq!(said(&stream.next().await), ["-secret s", "-task web.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_holds_a_hundred_changes_and_needs_come_before_what_needs_them() {
    let world = World::new("node a; secret s=1; service web secret=s").await;
    let (mut stream, _) = listen(&world, "a").await;
    let tasks: String = (1..=250).map(|n| format!("task web.{n} on a assigned;")).collect();
    world.amend(&tasks);
    let messages = [stream.next().await, stream.next().await, stream.next().await];
    assert_eq!(messages.each_ref().map(|message| message.changes.len()), [100, 100, 51]);
    assert_eq!(change(&messages[0].changes[0]), "+secret s");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_reads_slowly_gets_everything_in_the_end() {
    let world = World::new("node a; task w.0 on a assigned").await;
    let (mut stream, _) = listen(&world, "a").await;
    for n in 1..3000 {
        world.amend(&format!("task w.{n} on a assigned"));
        world.delete_task(&format!("w.{}", n - 1)).await;
    }
    let mut has = std::collections::BTreeSet::from(["w.0".to_owned()]);
    while has.len() != 1 || !has.contains("w.2999") {
        for said in said(&stream.next().await) {
            match said.split_at(1) {
                ("+", task) => has.insert(task.trim_start_matches("task ").to_owned()),
                (_, task) => has.remove(task.trim_start_matches("task ")),
            };
        }
    }
    assert!(stream.is_silent().await);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_leader_in_mid_stream_loses_nothing_and_tells_nothing_twice() {
    let text = "node a; secret s=1; service web secret=s; task web.1 on a assigned; task web.2 on a running";
    let mut world = World::new(text).await;
    let (mut stream, first) = listen(&world, "a").await;
    assert_eq!(first, ["+secret s", "+task web.1", "+task web.2"]);
    // Written under the old leader, and not yet read when it goes.
    world.amend("task web.3 on a assigned");
    world.delete_task("web.1").await;
    world.resign().await;
    assert_eq!(refusal(stream.try_next().await), (Code::Cancelled, "context canceled".into()));
    // Written while nobody leads.
    world.amend("task web.4 on a assigned");
    world.lead().await;
    let (mut stream, first) = listen(&world, "a").await;
    assert_eq!(first, ["+secret s", "+task web.2", "+task web.3", "+task web.4"]);
    assert!(stream.is_silent().await);
}

#[tokio::test(start_paused = true)]
async fn old_agents_get_the_whole_list_every_time() {
    let world = World::new("node a; task w.1 on a assigned; task w.2 on a pending").await;
    let session = world.register("a").await;
    let mut stream = world.tasks("a", &session).await.unwrap();
    let ids = |message: wire::TasksMessage| message.tasks.into_iter().map(|task| task.id).collect::<Vec<_>>();
    assert_eq!(ids(stream.next().await), ["w.1"]);
    world.amend("task w.3 on a assigned");
    assert_eq!(ids(stream.next().await), ["w.1", "w.3"]);
    world.delete_task("w.1").await;
    assert_eq!(ids(stream.next().await), ["w.3"]);
    assert_eq!(refusal(world.tasks("a", "").await).0, Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn old_agents_are_told_of_every_change_but_their_own_echo() {
    let world = World::new("node a").await;
    let session = world.register("a").await;
    let mut stream = world.tasks("a", &session).await.unwrap();
    let told = |message: wire::TasksMessage| {
        let task = |task: wire::Task| (task.id, TaskState::try_from(task.desired_state).unwrap());
        message.tasks.into_iter().map(task).collect::<Vec<_>>()
    };
    assert_eq!(told(stream.next().await), []);
    world.amend("task w.1 on a assigned");
    let running = ("w.1".to_owned(), TaskState::Running);
    assert_eq!(told(stream.next().await), std::slice::from_ref(&running));
    world.report("a", &session, &[("w.1", TaskState::Running)]).await.unwrap();
    assert!(stream.is_silent().await, "the node has said so itself");
    world.amend("task w.2 on a pending; task w.3 on a new");
    world.delete_task("w.3").await;
    assert!(stream.is_silent().await, "these are not for nodes");
    world.edit_task("w.1", |task| task.desired_state = TaskState::Shutdown).await;
    assert_eq!(told(stream.next().await), [("w.1".to_owned(), TaskState::Shutdown)]);
    world.delete_task("w.1").await;
    assert_eq!(told(stream.next().await), []);
    world.amend("task w.4 on a assigned");
    world.delete_task("w.4").await;
    assert_eq!(told(stream.next().await), [], "what came and went is told once");
    assert!(stream.is_silent().await);
}

#[tokio::test(start_paused = true)]
async fn tasks_that_nodes_are_not_told_of_leave_without_a_word() {
    let text = "node a; secret s=1; service web secret=s; task web.1 on a pending; task web.2 on a assigned";
    let world = World::new(text).await;
    let (mut stream, first) = listen(&world, "a").await;
    assert_eq!(first, ["+secret s", "+task web.2"]);
    world.delete_task("web.1").await;
    assert!(stream.is_silent().await);
    world.delete_task("web.2").await;
    assert_eq!(said(&stream.next().await), ["-secret s", "-task web.2"]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_over_is_told_of_no_task_any_more() {
    let world = World::new("node a").await;
    let (mut stream, _) = listen(&world, "a").await;
    world.amend("task w.1 on a assigned");
    world.register("a").await;
    world.amend("task w.2 on a assigned");
    assert_eq!(refusal(stream.try_next().await), (Code::InvalidArgument, "session invalid".into()));
}
