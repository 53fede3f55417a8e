//! Watches: what each member says has happened, in its own order, and whether all say the same.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use swarmkit_api::wire::{self, WatchActionKind, object::Object, watch_request::WatchEntry};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use crate::{
    client::Client,
    history::{Kind, Name, Seen, Tag},
    objects,
};

/// How long a watch may take to stand.
const ESTABLISH_LIMIT: Duration = Duration::from_secs(4);

/// How long a watcher rests when a member does not serve.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    Update,
    Remove,
}

/// One change, as a watch tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) action: Action,
    pub(crate) kind: Kind,
    pub(crate) name: Name,
    pub(crate) seen: Seen,
}

/// An unbroken stretch of one member's watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) member: usize,
    /// Everything after this version was told; none before the first message of a watch that began with the present.
    pub(crate) after: Option<u64>,
    /// The versions that were told, as they came.
    pub(crate) versions: Vec<u64>,
}

/// What all watches have told so far. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched(Arc<Mutex<Told>>);

/// See [`Watched`].
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) spans: Vec<Span>,
    /// The changes of each version, as whoever told them first told them.
    pub(crate) events: BTreeMap<u64, Vec<Event>>,
    /// The version of each object at the end of what was forgotten; none once it is gone.
    pub(crate) before: BTreeMap<String, Option<u64>>,
    /// Which version a write has led to.
    pub(crate) written: BTreeMap<Tag, u64>,
    /// What cannot be right, in words.
    pub(crate) faults: Vec<String>,
    /// How often a watch could not go on where it had ended.
    pub(crate) resyncs: u64,
    /// How often one could.
    pub(crate) resumes: u64,
}

impl Watched {
    /// Looks at what was told.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Told) -> T) -> T {
        look(&self.0.lock())
    }

    /// Forgets what is wrong, and gives it.
    pub(crate) fn take_faults(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().faults)
    }

    /// The newest version that every member's watch has told; none while one has told nothing.
    pub(crate) fn horizon(&self, members: usize) -> Option<u64> {
        let told = self.0.lock();
        let newest = |member| {
            let spans = told.spans.iter().filter(move |span| span.member == member);
            spans.filter_map(|span| span.versions.last().copied().max(span.after)).max()
        };
        (0..members).map(newest).min().flatten()
    }

    /// Forgets the changes up to a version that every member has told, once they are judged.
    pub(crate) fn forget(&self, horizon: u64) {
        self.0.lock().forget(horizon);
    }

    fn begin(&self, member: usize, after: Option<u64>) -> usize {
        let mut told = self.0.lock();
        told.spans.push(Span { member, after, versions: Vec::new() });
        told.spans.len() - 1
    }

    fn hear(&self, span: usize, version: u64, events: Vec<Event>) {
        self.0.lock().hear(span, version, events);
    }
}

impl Told {
    /// Takes one message of a watch.
    pub(crate) fn hear(&mut self, span: usize, version: u64, events: Vec<Event>) {
        let Span { member, after, versions } = &mut self.spans[span];
        let member = *member;
        let last = versions.last().copied().or(*after);
        if last.is_some_and(|last| version <= last) {
            self.faults.push(format!("member {member}: a watch told version {version} after {}", last.unwrap_or(0)));
        }
        versions.push(version);
        match self.events.get(&version) {
            Some(first) if *first == events => {}
            Some(first) => {
                self.faults.push(format!("member {member}: version {version} is {events:?}, others said {first:?}"));
            }
            None => {
                for event in &events {
                    self.absorb(version, event);
                }
                self.events.insert(version, events);
            }
        }
    }

    pub(crate) fn forget(&mut self, horizon: u64) {
        let kept = self.events.split_off(&(horizon + 1));
        for event in std::mem::replace(&mut self.events, kept).into_values().flatten() {
            let own = (event.action != Action::Remove).then_some(event.seen.version);
            self.before.insert(event.seen.id, own);
        }
        for span in &mut self.spans {
            let old = span.versions.partition_point(|version| *version <= horizon);
            if old > 0 {
                span.versions.drain(..old);
                span.after = Some(horizon);
            }
        }
    }

    fn absorb(&mut self, version: u64, event: &Event) {
        if event.action == Action::Remove {
            return;
        }
        if let Some(before) = self.written.insert(event.seen.tag, version) {
            let Seen { tag, .. } = event.seen;
            self.faults.push(format!("write {tag} of {} is visible twice: at {before} and {version}", event.name));
        }
    }
}

/// Watches one member, and begins again where it ended, until told to stop.
pub(crate) async fn run(member: usize, socket: PathBuf, watched: Watched, stop: CancellationToken) {
    let mut client = Client::new(socket);
    let mut span = watched.begin(member, None);
    while !stop.is_cancelled() {
        let last = watched.look(|told| {
            let span = &told.spans[span];
            span.versions.last().copied().or(span.after)
        });
        match establish(&mut client, last).await {
            Ok(mut stream) => {
                if last.is_some() {
                    watched.0.lock().resumes += 1;
                }
                tokio::select! { biased; // to stop comes first
                    () = stop.cancelled() => return,
                    () = follow(&mut stream, span, &watched) => {}
                }
            }
            Err(Some(status)) if was_compacted(&status) => {
                watched.0.lock().resyncs += 1;
                span = watched.begin(member, None);
            }
            Err(_) => {}
        }
        client.disconnect();
        tokio::select! { biased; // to stop comes first
            () = stop.cancelled() => return,
            () = sleep(AFTER_FAILURE) => {}
        }
    }
}

/// A watch that stands; without a status if nobody answers.
async fn establish(client: &mut Client, after: Option<u64>) -> Result<Streaming<wire::WatchMessage>, Option<Status>> {
    let entry = |kind: &str| WatchEntry {
        kind: kind.to_owned(),
        action: WatchActionKind::WatchActionCreate as i32
            | WatchActionKind::WatchActionUpdate as i32
            | WatchActionKind::WatchActionRemove as i32,
        filters: Vec::new(),
    };
    let request = wire::WatchRequest {
        entries: vec![entry("config"), entry("secret")],
        resume_from: after.map(|index| wire::Version { index }),
        include_old_object: false,
    };
    let stand = async {
        let mut watch = client.watch().await.ok_or(None)?;
        let mut stream = watch.watch(request).await.map_err(Some)?.into_inner();
        // The first message is empty and says that the watch stands.
        stream.message().await.map_err(Some)?;
        Ok(stream)
    };
    timeout(ESTABLISH_LIMIT, stand).await.unwrap_or(Err(None))
}

/// Takes messages until the stream ends, in whatever way.
async fn follow(stream: &mut Streaming<wire::WatchMessage>, span: usize, watched: &Watched) {
    while let Ok(Some(message)) = stream.message().await {
        let version = message.version.unwrap_or_default().index;
        let events: Vec<_> = message.events.into_iter().filter_map(event).collect();
        if !events.is_empty() {
            watched.hear(span, version, events);
        }
    }
}

fn was_compacted(status: &Status) -> bool {
    // The text of a server that no longer keeps the version. One that has not reached it yet is asked again.
    status.code() == Code::InvalidArgument && status.message().contains("compacted")
}

fn event(event: wire::watch_message::Event) -> Option<Event> {
    let action = match event.action() {
        WatchActionKind::WatchActionCreate => Action::Create,
        WatchActionKind::WatchActionUpdate => Action::Update,
        WatchActionKind::WatchActionRemove => Action::Remove,
        WatchActionKind::WatchActionUnknown => return None,
    };
    let (kind, annotations, seen) = match event.object?.object? {
        Object::Config(config) => {
            let seen = objects::config(&config)?;
            (Kind::Config, config.spec?.annotations?, seen)
        }
        Object::Secret(secret) => {
            let seen = objects::secret(&secret)?;
            (Kind::Secret, secret.spec?.annotations?, seen)
        }
        _ => return None,
    };
    Some(Event { action, kind, name: Name::parse(kind, &annotations.name)?, seen })
}
