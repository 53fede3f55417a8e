//! Spans as histograms: how long they were open.

use std::fmt;

use swarmkit_api::access;
use tokio::time::Instant;
use tracing::{
    Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    filter::FilterFn,
    layer::{Context, Filter},
    registry::LookupSpan,
};

use super::{
    Registry,
    registry::{Call, Calls, Handled},
};

/// The spans that are measured.
const SPANS: [&str; 7] = ["raft.proposal", "raft.snapshot", "store.write", "store.batch", "store.lock", SERVER, CLIENT];
/// A call that this process answers, and one that it makes of another.
const SERVER: &str = "rpc.call";
const CLIENT: &str = "rpc.client";

/// A subscriber of spans that measures the ones it has a histogram for.
pub struct Timers(Registry);

/// What is kept with an open span.
struct Open {
    since: Instant,
    call: Option<Call>,
    code: Option<String>,
}

impl Timers {
    /// Measures into `registry`.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self(registry.clone())
    }

    /// The calls that a span is counted among, if it is one.
    fn calls(&self, name: &str) -> Option<&Calls> {
        match name {
            SERVER => Some(&self.0.metrics().server),
            CLIENT => Some(&self.0.metrics().client),
            _ => None,
        }
    }

    /// What it wants to see. Everything else stays as cheap as it is without it.
    pub fn filter<S>() -> impl Filter<S> + Send + Sync + 'static {
        let wanted = |metadata: &Metadata<'_>| metadata.is_span() && SPANS.contains(&metadata.name());
        FilterFn::new(wanted).with_max_level_hint(LevelFilter::DEBUG)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Timers {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut open = Open { since: Instant::now(), call: None, code: None };
        if let Some(calls) = self.calls(attributes.metadata().name()) {
            attributes.record(&mut open);
            if let Some(call) = &open.call {
                calls.started.get_or_create(call).inc();
            }
        }
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            values.record(open);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Open { since, call, code }) = span.extensions_mut().remove::<Open>() else { return };
        let (seconds, metrics) = (since.elapsed().as_secs_f64(), self.0.metrics());
        match span.name() {
            "raft.proposal" => metrics.proposal.observe(seconds),
            "raft.snapshot" => metrics.snapshot.observe(seconds),
            "store.write" => metrics.write.observe(seconds),
            "store.batch" => metrics.batch.observe(seconds),
            "store.lock" => metrics.lock.observe(seconds),
            name => {
                let (Some(call), Some(calls)) = (call, self.calls(name)) else { return };
                calls.handling.get_or_create(&call).observe(seconds);
                let Call { grpc_service, grpc_method, grpc_type } = call;
                // Whoever was to answer, or waited for it, was dropped before there was an answer.
                let grpc_code = code.unwrap_or_else(|| "Cancelled".to_owned());
                calls.handled.get_or_create(&Handled { grpc_service, grpc_method, grpc_type, grpc_code }).inc();
            }
        }
    }
}

impl Visit for Open {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "method"
            && let Some(method) = access::method(value)
        {
            let grpc_type = match (method.client_streaming, method.server_streaming) {
                (false, false) => "unary",
                (true, false) => "client_stream",
                (false, true) => "server_stream",
                (true, true) => "bidi_stream",
            };
            self.call = Some(Call { grpc_service: method.service, grpc_method: method.method, grpc_type });
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "code" {
            // Codes are called as in Go's library, where OK is written in capitals.
            let code = format!("{value:?}");
            self.code = Some(if code == "Ok" { "OK".to_owned() } else { code });
        }
    }
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timers")
    }
}
