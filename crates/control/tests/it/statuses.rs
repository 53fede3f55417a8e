//! How services are doing, in numbers.

use swarmkit_api::{TaskState, Version, wire};
use swarmkit_testing::{service, task};

use crate::world::World;

async fn statuses(world: &World, services: &[&str]) -> Vec<(u64, u64, u64)> {
    let services: Vec<_> = services.iter().map(|&id| id.to_owned()).collect();
    let request = wire::ListServiceStatusesRequest { services: services.clone() };
    let answer = world.control().list_service_statuses(request).await.unwrap().into_inner().statuses;
    assert_eq!(answer.iter().map(|status| status.service_id.clone()).collect::<Vec<_>>(), services);
    answer.into_iter().map(|s| (s.desired_tasks, s.running_tasks, s.completed_tasks)).collect()
}

#[tokio::test]
async fn each_mode_counts_in_its_own_way() {
    use TaskState::{Complete, Failed, Running, Shutdown, Starting};
    let world = World::new();
    assert!(statuses(&world, &[]).await.is_empty());
    assert_eq!(statuses(&world, &["x", "x"]).await, [(0, 0, 0), (0, 0, 0)]);

    let web = service("web").replicas(3).build();
    let global = service("global").global().build();
    let job = service("job").job(5, 2).iteration(1).build();
    let everywhere = service("everywhere").global_job().iteration(0).build();
    let gone = service("gone").build();
    world
        .put(|tx| {
            for service in [&web, &global, &job, &everywhere] {
                tx.create(service.clone())?;
            }
            for (id, of, state, desired, iteration) in [
                ("w1", &web, Running, Running, None),
                ("w2", &web, Starting, Running, None),
                ("w3", &web, Failed, Shutdown, None),
                ("g1", &global, Running, Running, None),
                ("g2", &global, Starting, Running, None),
                ("g3", &global, Running, Shutdown, None),
                ("j1", &job, Running, Complete, Some(1)),
                ("j2", &job, Complete, Complete, Some(1)),
                ("j3", &job, Complete, Complete, Some(0)),
                ("e1", &everywhere, Running, Complete, Some(0)),
                ("e2", &everywhere, Complete, Complete, Some(0)),
                ("o1", &gone, Running, Shutdown, None),
            ] {
                let task = task(id).of(of).state(state).desired(desired).with(|task| {
                    task.job_iteration = iteration.map(Version);
                });
                tx.create(task.build())?;
            }
            Ok(())
        })
        .await;
    let told = statuses(&world, &["web", "global", "job", "everywhere", "gone"]).await;
    assert_eq!(told, [(3, 1, 0), (2, 2, 0), (2, 1, 1), (1, 1, 1), (0, 1, 0)]);
}
