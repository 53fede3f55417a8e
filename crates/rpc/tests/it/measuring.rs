//! The spans of calls, from which metrics are made.

use std::{cell::RefCell, fmt};

use swarmkit_api::NodeRole;
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
};

use crate::world::{World, unlock_key};

thread_local! {
    /// What the spans of this thread have said. One subscriber hears all threads, since whether a place in the code is heard
    /// is decided once for the process.
    static SAID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Ear;

struct Name(&'static str);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Ear {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        attributes.record(&mut Name(attributes.metadata().name()));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        values.record(&mut Name(span.name()));
    }
}

impl Visit for Name {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.0.starts_with("rpc.") {
            let line = format!("{} {field}={value:?}", self.0);
            let _ = SAID.try_with(|said| said.borrow_mut().push(line));
        }
    }
}

#[tokio::test]
async fn a_call_is_a_span_on_either_side_which_knows_its_method_and_code() {
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Ear)).expect("nobody else listens");
    let world = World::new();
    let server = world.manager("m1").await;
    let channel = world.connect(&world.node("m2", NodeRole::Manager), &server.address).await.unwrap();
    SAID.take();
    unlock_key(&channel).await.unwrap();
    let channel = world.connect(&world.node("w1", NodeRole::Worker), &server.address).await.unwrap();
    unlock_key(&channel).await.unwrap_err();
    let said = SAID.take();
    for side in ["client", "call"] {
        let of_side: Vec<_> = said.iter().filter(|line| line.starts_with(&format!("rpc.{side} "))).collect();
        let method = format!("rpc.{side} method=\"/docker.swarmkit.v1.CA/GetUnlockKey\"");
        let expected = [&method, &format!("rpc.{side} code=Ok"), &method, &format!("rpc.{side} code=PermissionDenied")];
        assert_eq!(of_side, expected);
    }
}
