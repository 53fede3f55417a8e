//! What is written into the log while a test runs.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use parking_lot::Mutex;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
};

/// Collects what this project says on this thread at a level or a worse one.
pub(crate) struct Said {
    lines: Arc<Mutex<Vec<String>>>,
    _guard: DefaultGuard,
}

impl Said {
    pub(crate) fn from(level: Level) -> Self {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let collector = Collector { level, lines: lines.clone() };
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(collector));
        Self { lines, _guard: guard }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }
}

struct Collector {
    level: Level,
    lines: Arc<Mutex<Vec<String>>>,
}

impl<S: Subscriber> Layer<S> for Collector {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let is_ours = event.metadata().target().starts_with("swarmkit");
        if is_ours && *event.metadata().level() <= self.level {
            let mut line = Line(format!("{} {}:", event.metadata().level(), event.metadata().target()));
            event.record(&mut line);
            self.lines.lock().push(line.0);
        }
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}
