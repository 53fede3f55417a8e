//! What a change costs, counted in wake-ups.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::Stream;
use swarmkit_api::{TaskState, wire};

use crate::world::{Reader, World};

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Streams of many nodes, all of which have been told everything.
struct Crowd {
    world: World,
    streams: Vec<Reader<wire::AssignmentsMessage>>,
    _sessions: Vec<Reader<wire::SessionMessage>>,
    woken: Arc<Count>,
}

impl Crowd {
    async fn new(nodes: usize) -> Self {
        let text: String = (0..nodes).map(|n| format!("node n{n}; task w.{} on n{n} running;", n + 1)).collect();
        let world = World::new(&text).await;
        let (mut streams, mut sessions) = (Vec::new(), Vec::new());
        for n in 0..nodes {
            let node = format!("n{n}");
            let mut session = world.open(&node, "").await.unwrap();
            let id = session.next().await.session_id;
            let mut stream = world.assignments(&node, &id).await.unwrap();
            stream.next().await;
            streams.push(stream);
            sessions.push(session);
        }
        let mut crowd = Self { world, streams, _sessions: sessions, woken: Arc::default() };
        crowd.park();
        crowd
    }

    /// Makes every stream wait for more, and forgets what woke it so far.
    fn park(&mut self) {
        let waker = Waker::from(Arc::clone(&self.woken));
        for stream in &mut self.streams {
            while let Poll::Ready(told) = Pin::new(&mut stream.0).poll_next(&mut Context::from_waker(&waker)) {
                told.expect("the stream goes on").expect("a message");
            }
        }
        self.woken.0.store(0, Ordering::SeqCst);
    }

    /// How many wake-ups something costs.
    async fn cost(&mut self, what: impl AsyncFnOnce(&World)) -> usize {
        what(&self.world).await;
        let woken = self.woken.0.load(Ordering::SeqCst);
        self.park();
        woken
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_wakes_the_streams_of_the_nodes_that_it_concerns_however_many_are_connected() {
    for nodes in [10, 1000] {
        let mut crowd = Crowd::new(nodes).await;
        let stop = async |world: &World| world.edit_task("w.3", |task| task.desired_state = TaskState::Shutdown).await;
        assert_eq!(crowd.cost(stop).await, 1, "one task, with {nodes} nodes");
        let elsewhere = async |world: &World| world.amend("service web; secret s=1; node new");
        assert_eq!(crowd.cost(elsewhere).await, 0, "no task, with {nodes} nodes");
        let volume = async |world: &World| world.amend("volume v published=n1 published=n4");
        assert_eq!(crowd.cost(volume).await, 2, "a volume of two nodes, with {nodes} nodes");
        let moved = async |world: &World| world.edit_task("w.3", |task| task.node_id = Some("n5".into())).await;
        assert_eq!(crowd.cost(moved).await, 2, "from one node to another, with {nodes} nodes");
    }
}
