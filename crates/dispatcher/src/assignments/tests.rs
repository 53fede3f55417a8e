//! What one node is told, change by change.

use swarmkit_store::{Interest, Store};
use swarmkit_testing::{amend, store};
use wire::assignment::Item;

use super::*;

/// A store, and what node `a` is told of it.
struct Told {
    store: Store,
    watch: swarmkit_store::Watch,
    set: AssignmentSet,
}

impl Told {
    fn new(text: &str) -> Self {
        let store = store(text);
        let interest = Interest::none().tasks_of_node("a".into()).volumes_of_node("a".into());
        let watch = store.watch(interest);
        Self { store, watch, set: AssignmentSet::new("a".into()) }
    }

    /// Everything that is new, in the order in which it is said.
    fn news(&mut self) -> Vec<String> {
        while let Some(update) = self.watch.try_next().unwrap() {
            self.set.absorb(&update);
        }
        let mut news = Vec::new();
        while self.set.has_news() {
            news.extend(self.set.take_some().iter().map(word));
        }
        news
    }

    fn publish(&self, volume: &str, nodes: &[(&str, PublishState)]) {
        let publish_status = nodes.iter().map(|(node, state)| wire::VolumePublishStatus {
            node_id: (*node).into(),
            state: (*state).into(),
            publish_context: [("device".to_owned(), format!("/dev/{node}"))].into(),
            ..Default::default()
        });
        let mut object = Volume::new(VolumeId::from(volume));
        let spec = Arc::make_mut(&mut object.spec);
        spec.annotations = Some(wire::Annotations { name: volume.into(), ..Default::default() });
        spec.driver = Some(wire::Driver { name: "csi".into(), ..Default::default() });
        spec.secrets = vec![wire::VolumeSecret { key: "password".into(), secret: "s".into() }];
        object.volume_info = Some(wire::VolumeInfo { volume_id: format!("csi-{volume}"), ..Default::default() });
        object.publish_status = publish_status.collect();
        self.write(|tx| match tx.get::<Volume>(&object.id).cloned() {
            None => tx.create(object),
            Some(stored) => tx.update(Volume { meta: stored.meta, ..object }),
        });
    }

    fn write<T>(&self, edit: impl FnOnce(&mut swarmkit_store::Transaction) -> Result<T, swarmkit_store::StoreError>) {
        use futures_util::FutureExt as _;
        self.store.update(edit).now_or_never().expect("a local store commits at once").expect("it takes the change");
    }
}

fn word(change: &wire::AssignmentChange) -> String {
    let sign = if change.action() == AssignmentAction::Update { '+' } else { '-' };
    match change.assignment.as_ref().and_then(|assignment| assignment.item.as_ref()).expect("an item") {
        Item::Task(task) => format!("{sign}{}", task.id),
        Item::Secret(secret) => format!("{sign}{}", secret.id),
        Item::Config(config) => format!("{sign}{}", config.id),
        Item::Volume(volume) => {
            let devices: Vec<_> = volume.publish_context.values().cloned().collect();
            format!("{sign}{}({} {})", volume.id, volume.volume_id, devices.join(" "))
        }
    }
}

#[test]
fn a_volume_is_told_when_it_is_published_here_with_its_secret_and_this_nodes_context_only() {
    let mut told = Told::new("secret s=1");
    told.publish("v", &[("a", PublishState::PendingPublish), ("b", PublishState::Published)]);
    assert_eq!(told.news(), [""; 0]);
    told.publish("v", &[("a", PublishState::Published), ("b", PublishState::Published)]);
    assert_eq!(told.news(), ["+s", "+v(csi-v /dev/a)"]);
    told.publish("v", &[("a", PublishState::Published)]);
    assert_eq!(told.news(), [""; 0]);
}

#[test]
fn a_volume_is_taken_back_first_and_its_secret_when_that_is_done() {
    let mut told = Told::new("secret s=1");
    told.publish("v", &[("a", PublishState::Published)]);
    told.news();
    told.publish("v", &[("a", PublishState::PendingNodeUnpublish)]);
    assert_eq!(told.news(), ["-v(csi-v /dev/a)"]);
    told.publish("v", &[("a", PublishState::PendingUnpublish)]);
    assert_eq!(told.news(), ["-s"]);
    told.publish("v", &[]);
    assert_eq!(told.news(), [""; 0]);
}

#[test]
fn a_volume_that_vanishes_is_taken_back_with_its_secret() {
    let mut told = Told::new("secret s=1");
    for number in 0..3 {
        told.publish("v", &[("a", PublishState::Published)]);
        assert_eq!(told.news(), ["+s", "+v(csi-v /dev/a)"]);
        match number {
            0 => told.publish("v", &[("b", PublishState::Published)]),
            1 => told.write(|tx| tx.delete::<Volume>(&"v".into())),
            _ => {
                told.publish("v", &[]);
                told.set.absorb(&Update::Snapshot(told.store.view()));
            }
        }
        assert_eq!(told.news(), ["-v(csi-v /dev/a)", "-s"], "{number}");
    }
}

#[test]
fn a_volume_that_is_published_on_another_node_wakes_nobody_here() {
    let mut told = Told::new("secret s=1; service w secret=s");
    while told.watch.try_next().unwrap().is_some() {}
    told.publish("v", &[("b", PublishState::PendingPublish)]);
    told.publish("v", &[("b", PublishState::Published)]);
    assert!(told.watch.try_next().unwrap().is_none());
    told.publish("v", &[("b", PublishState::Published), ("a", PublishState::PendingPublish)]);
    assert!(told.watch.try_next().unwrap().is_some());
    told.publish("v", &[("b", PublishState::Published)]);
    assert!(told.watch.try_next().unwrap().is_some(), "it learns that the volume has left");
}

#[test]
fn a_volume_is_taken_back_from_a_node_that_may_have_forgotten_it() {
    let mut told = Told::new("secret s=1");
    told.publish("v", &[("a", PublishState::PendingNodeUnpublish)]);
    assert_eq!(told.news(), ["-v(csi-v /dev/a)"]);
}

#[test]
fn a_secret_of_a_task_and_a_volume_goes_with_the_last_of_them() {
    let mut told = Told::new("secret s=1; service w secret=s; task w.1 on a running");
    assert_eq!(told.news(), ["+s", "+w.1"]);
    told.publish("v", &[("a", PublishState::Published)]);
    assert_eq!(told.news(), ["+v(csi-v /dev/a)"]);
    told.write(|tx| tx.delete::<Task>(&"w.1".into()));
    assert_eq!(told.news(), ["-w.1"]);
    told.publish("v", &[("a", PublishState::PendingNodeUnpublish)]);
    told.publish("v", &[("a", PublishState::PendingUnpublish)]);
    assert_eq!(told.news(), ["-v(csi-v /dev/a)", "-s"]);
}

#[test]
fn a_dependency_counts_however_it_is_named_and_once_if_it_is_named_twice() {
    let listed =
        |id: &str, kind: ResourceType| wire::ResourceReference { resource_id: id.into(), resource_type: kind.into() };
    let none = || listed("z", ResourceType::Task);
    let secret = || listed("s", ResourceType::Secret);
    let config = || listed("c", ResourceType::Config);
    let ways = [
        // What the container names, and what is listed for any runtime.
        ("service w secret=s config=c", vec![none(), listed("v", ResourceType::Volume)], true),
        ("service w secret=s", vec![config()], true),
        ("service w secret=s config=c", vec![secret(), config(), none()], true),
        ("service w", vec![secret(), config()], true),
        ("service w", vec![secret(), secret(), config()], true),
        ("service w", vec![none()], false),
    ];
    for (service, references, is_used) in ways {
        let mut told = Told::new(&format!("secret s=1; config c=3; {service}"));
        told.write(|tx| {
            let service = tx.get::<swarmkit_api::Service>(&"w".into()).cloned().expect("the service");
            let task = swarmkit_testing::task("w.1").of(&service).on("a").state(TaskState::Assigned);
            tx.create(task.spec(|spec| spec.resource_references.clone_from(&references)).build())
        });
        let news = |sign: &str, first: &[&str]| {
            let used = ["s", "c"].iter().filter(|_| is_used).map(|id| format!("{sign}{id}"));
            first.iter().map(|word| (*word).to_owned()).chain(used).collect::<Vec<_>>()
        };
        let mut expected = news("+", &[]);
        expected.push("+w.1".to_owned());
        assert_eq!(told.news(), expected, "{service} {references:?}");
        told.write(|tx| tx.delete::<Task>(&"w.1".into()));
        assert_eq!(told.news(), news("-", &["-w.1"]), "{service} {references:?}");
    }
}

#[test]
fn a_task_waits_until_its_driver_has_answered_and_a_volume_is_told_without() {
    let mut told = Told::new("secret s=1; service w secret=s");
    told.write(|tx| {
        tx.edit::<Secret>(&"s".into(), |secret| {
            Arc::make_mut(&mut secret.spec).driver = Some(wire::Driver { name: "vault".into(), ..Default::default() });
        })
    });
    told.publish("v", &[("a", PublishState::Published)]);
    assert_eq!(told.news(), ["+v(csi-v /dev/a)"]);
    amend(&told.store, "task w.1 on a assigned; task w.2 on a assigned");
    assert_eq!(told.news(), [""; 0]);
    let wants = told.set.take_wants();
    let asked: Vec<_> = wants.iter().map(|want| (want.secret.id.to_string(), want.task.id.to_string())).collect();
    assert_eq!(asked, [("s".to_owned(), "w.1".to_owned()), ("s".to_owned(), "w.2".to_owned())]);
    assert!(told.set.is_waiting());
    let answer = |task: &str, provided: bool| Provision {
        task: task.into(),
        secret: "s".into(),
        provided: provided.then(|| Arc::clone(&wants[0].secret)),
    };
    told.set.provide(answer("w.2", true));
    assert_eq!(told.news(), ["+s", "+w.2"]);
    told.set.provide(answer("w.1", false));
    assert_eq!(told.news(), ["+w.1"]);
    told.set.provide(answer("w.1", true));
    assert_eq!(told.news(), [""; 0], "an answer counts once");
}

#[test]
fn a_task_that_moves_to_another_node_is_taken_from_this_one() {
    let mut told = Told::new("secret s=1; service w secret=s; task w.1 on a running");
    told.news();
    told.write(|tx| tx.edit::<Task>(&"w.1".into(), |task| task.node_id = Some("b".into())));
    assert_eq!(told.news(), ["-w.1", "-s"]);
}

#[test]
fn starting_over_says_only_what_has_changed_meanwhile() {
    let mut told = Told::new("secret s=1; service w secret=s; task w.1 on a running; task w.2 on a running");
    assert_eq!(told.news(), ["+s", "+w.1", "+w.2"]);
    told.write(|tx| tx.delete::<Task>(&"w.1".into()));
    amend(&told.store, "task w.3 on a running");
    told.set.absorb(&Update::Snapshot(told.store.view()));
    let changes: Vec<_> = told.set.take_all().iter().map(word).collect();
    assert_eq!(changes, ["-w.1", "+w.3"]);
    assert_eq!(told.news(), [""; 0]);
}
