//! Tasks.

use swarmkit_api::{Service, Task, TaskState, wire};
use swarmkit_testing::{node, service, task};
use wire::list_tasks_request::Filters;

use crate::world::{World, no_argument, not_found};

async fn list(world: &World, filters: Filters) -> Vec<String> {
    let request = wire::ListTasksRequest { filters: Some(filters) };
    world.control().list_tasks(request).await.unwrap().into_inner().tasks.into_iter().map(|task| task.id).collect()
}

#[tokio::test]
async fn a_task_can_be_had_and_removed_whatever_it_does() {
    let world = World::new();
    world.put(|tx| tx.create(task("t").state(TaskState::Running).build()).map(drop)).await;
    let get = |id: &str| wire::GetTaskRequest { task_id: id.into() };
    let got = world.control().get_task(get("t")).await.unwrap().into_inner().task.unwrap();
    assert_eq!(got.id, "t");
    assert_eq!(world.refused(world.control().get_task(get(""))).await, no_argument());
    assert_eq!(world.refused(world.control().get_task(get("x"))).await, not_found("task x not found"));
    let remove = |id: &str| wire::RemoveTaskRequest { task_id: id.into() };
    assert_eq!(world.refused(world.control().remove_task(remove(""))).await, no_argument());
    assert_eq!(world.refused(world.control().remove_task(remove("x"))).await, not_found("task x not found"));
    world.control().remove_task(remove("t")).await.unwrap();
    assert_eq!(world.view().count::<Task>(), 0);
}

#[tokio::test]
async fn tasks_are_found_by_all_that_they_are() {
    let world = World::new();
    let web = service("web").label("tier", "front").build();
    let tool = service("tool").build();
    world
        .put(|tx| {
            tx.create(web.clone())?;
            tx.create(tool.clone())?;
            tx.create(task("t1").of(&web).slot(1).on("a").desired(TaskState::Running).build())?;
            tx.create(task("t2").of(&web).slot(2).on("b").desired(TaskState::Shutdown).build())?;
            let payload = prost_types::Any { type_url: "x".into(), value: vec![1] };
            let generic = wire::GenericRuntimeSpec { kind: "Batch".into(), payload: Some(payload) };
            let runtime = Some(wire::task_spec::Runtime::Generic(generic));
            tx.create(task("u1").of(&tool).slot(0).on("a").spec(|spec| spec.runtime = runtime).build()).map(drop)
        })
        .await;
    assert_eq!(list(&world, Filters::default()).await, ["t1", "t2", "u1"]);
    let text = |text: &str| vec![text.to_owned()];
    assert_eq!(list(&world, Filters { service_ids: text("web"), ..Default::default() }).await, ["t1", "t2"]);
    assert_eq!(list(&world, Filters { node_ids: text("a"), ..Default::default() }).await, ["t1", "u1"]);
    let on_a = Filters { service_ids: text("web"), node_ids: text("a"), ..Default::default() };
    assert_eq!(list(&world, on_a).await, ["t1"]);
    let stopped = Filters { desired_states: vec![TaskState::Shutdown.into()], ..Default::default() };
    assert_eq!(list(&world, stopped).await, ["t2"]);
    assert_eq!(list(&world, Filters { id_prefixes: text("t"), ..Default::default() }).await, ["t1", "t2"]);
    assert_eq!(list(&world, Filters { names: text("web.2.t2"), ..Default::default() }).await, ["t2"]);
    assert_eq!(list(&world, Filters { names: text("tool.a.u1"), ..Default::default() }).await, ["u1"]);
    assert_eq!(list(&world, Filters { name_prefixes: text("web."), ..Default::default() }).await, ["t1", "t2"]);
    let labelled = Filters { labels: [("tier".to_owned(), "front".to_owned())].into(), ..Default::default() };
    assert_eq!(list(&world, labelled).await, ["t1", "t2"]);
    assert_eq!(list(&world, Filters { runtimes: text("batch"), ..Default::default() }).await, ["u1"]);
    assert_eq!(list(&world, Filters { runtimes: text("container"), ..Default::default() }).await, ["t1", "t2"]);
}

#[tokio::test]
async fn a_task_is_up_to_date_when_its_service_would_not_replace_it() {
    let world = World::new();
    let web = service("web");
    let old = web.clone().build();
    // A constraint that the one node satisfies and the other does not, at another version of the specification.
    let new = web.constraint("node.labels.disk == ssd").spec_version(2).build();
    world
        .put(|tx| {
            tx.create(node("fast").label("disk", "ssd").build())?;
            tx.create(node("slow").build())?;
            tx.create(new.clone())?;
            tx.create(task("a-new").of(&new).on("slow").build())?;
            tx.create(task("b-fits").of(&old).on("fast").build())?;
            tx.create(task("c-does-not").of(&old).on("slow").build())?;
            tx.create(task("d-nowhere").of(&old).build())?;
            tx.create(task("e-orphan").of(&service("gone").build()).on("fast").build()).map(drop)
        })
        .await;
    let up_to_date = || Filters { up_to_date: true, ..Default::default() };
    assert_eq!(list(&world, up_to_date()).await, ["a-new", "b-fits"]);
    world.put(|tx| tx.edit::<Service>(&"web".into(), |service| *service = old.clone_at(service)).map(drop)).await;
    assert_eq!(list(&world, up_to_date()).await, ["a-new", "b-fits", "c-does-not", "d-nowhere"]);
}

trait CloneAt {
    fn clone_at(&self, stored: &Self) -> Self;
}

impl CloneAt for Service {
    /// The same, as a change of what is stored.
    fn clone_at(&self, stored: &Self) -> Self {
        Self { meta: stored.meta, ..self.clone() }
    }
}
