//! What is written into the log while a test runs, and which loops begin and end.
//!
//! One subscriber hears all tests of this process and keeps apart their threads: one for each thread would make the others
//! deaf, since whether a place in the code is heard at all is decided once for the process.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt::{self, Write as _},
    rc::Rc,
    sync::Once,
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
};

thread_local! {
    static HEARD: RefCell<Option<Rc<RefCell<Heard>>>> = const { RefCell::new(None) };
}

static SUBSCRIBED: Once = Once::new();

/// Listens to a test, which runs on one thread.
pub(crate) struct Said(Rc<RefCell<Heard>>);

#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    loops: BTreeMap<String, (usize, usize)>,
}

impl Said {
    pub(crate) fn from_now_on() -> Self {
        SUBSCRIBED.call_once(|| {
            let subscriber = tracing_subscriber::registry().with(Ear).with(LevelFilter::INFO);
            tracing::subscriber::set_global_default(subscriber).expect("nobody else listens");
        });
        let heard = Rc::<RefCell<Heard>>::default();
        HEARD.with_borrow_mut(|place| *place = Some(heard.clone()));
        Self(heard)
    }

    /// The warnings and errors of this project.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.0.borrow().lines.clone()
    }

    /// How often each loop of a leader term has begun and ended, by its name below that of the term.
    pub(crate) fn loops(&self) -> BTreeMap<String, (usize, usize)> {
        self.0.borrow().loops.clone()
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        HEARD.with_borrow_mut(|place| *place = None);
    }
}

/// Tells the test of this thread, if it listens.
fn tell(tell: impl FnOnce(&mut Heard)) {
    // A thread that is about to end has nobody who listens.
    let _ = HEARD.try_with(|place| {
        if let Some(heard) = &*place.borrow() {
            tell(&mut heard.borrow_mut());
        }
    });
}

struct Ear;

/// The name of a loop's span, with those above it up to the leader term.
struct Path(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Ear {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (level, target) = (event.metadata().level(), event.metadata().target());
        if target.starts_with("swarmkit") && *level <= Level::WARN {
            let mut line = Line(format!("{level} {target}:"));
            event.record(&mut line);
            tell(|heard| heard.lines.push(line.0));
        }
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id).filter(|span| span.name() == "part") else { return };
        let mut name = Path(String::new());
        attributes.record(&mut name);
        let above = span.parent().and_then(|above| Some(above.extensions().get::<Path>()?.0.clone()));
        let path = match above.as_deref() {
            _ if name.0 == "leadership" => String::new(),
            Some("") => name.0,
            Some(above) => format!("{above}/{}", name.0),
            None => return,
        };
        if !path.is_empty() {
            tell(|heard| heard.loops.entry(path.clone()).or_default().0 += 1);
        }
        span.extensions_mut().insert(Path(path));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        if let Some(Path(path)) = span.extensions().get::<Path>() {
            tell(|heard| {
                if let Some(counted) = heard.loops.get_mut(path) {
                    counted.1 += 1;
                }
            });
        }
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Visit for Path {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "name" {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
