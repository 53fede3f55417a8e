//! Those who use the cluster: writers and readers, whose histories are judged, and watchers.

use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, rngs::SmallRng, seq::IndexedRandom as _};
use swarmkit_api::{Config, ConfigId, Kind, Version, wire};
use swarmkit_raft::RaftError;
use swarmkit_store::{Change, Committed, Interest, Store, StoreError, Transaction, Update, Watch};

use crate::{
    bug::Bug,
    cluster::Cluster,
    history::Called,
    invariants::{
        acknowledged::Acknowledged,
        gap_free_watch::{Mirror, Told},
        linearizable::{Action, Value},
    },
    oracle::{contents, value_of},
    site::{Member, may_have_happened},
};

/// How long a client waits for an answer.
const DEADLINE: Duration = Duration::from_millis(1500);

/// Two objects that are only written together.
pub(crate) const TWINS: [&str; 2] = ["twin-a", "twin-b"];

/// One client that reads and writes.
pub(crate) struct Client {
    pub(crate) cluster: Cluster,
    pub(crate) rng: SmallRng,
    pub(crate) keys: Vec<Arc<str>>,
    /// What it writes next: no two writes of a world write the same.
    pub(crate) next: u64,
    /// How many clients there are: the step from one value to the next.
    pub(crate) step: u64,
    /// Who led when it last looked.
    pub(crate) known: Option<Member>,
}

impl Client {
    /// Reads and writes for as long as the world lasts.
    pub(crate) async fn run(mut self) {
        loop {
            let pause = Duration::from_millis(self.rng.random_range(0..60));
            tokio::time::sleep(pause).await;
            let Some(member) = self.member() else { continue };
            let Some(key) = self.keys.choose(&mut self.rng).cloned() else { return };
            match self.rng.random_range(0..20) {
                0..8 => drop(self.write(&member, &key, false).await),
                8..10 => drop(self.write(&member, &key, true).await),
                10..12 => self.write_twins(&member).await,
                _ => self.read(&member, &key).await,
            }
        }
    }

    /// Whom to ask: whoever leads, rarely anybody else.
    fn member(&mut self) -> Option<Member> {
        if let Some((_, leader)) =
            self.cluster.leaders().choose(&mut self.rng).and_then(|site| Some((site.node.clone(), site.member()?)))
        {
            // One that was deposed is asked by those who do not look again.
            let looks = self.cluster.world.bug != Some(Bug::DeposedRead) || self.rng.random_bool(0.3);
            if looks || self.known.as_ref().is_none_or(|known| known.life.is_cancelled()) {
                self.known = Some(leader);
            }
        }
        if self.rng.random_bool(0.05) {
            return self.cluster.any(&mut self.rng).member();
        }
        self.known.clone().filter(|known| !known.life.is_cancelled())
    }

    /// Writes a value, or removes the object. Tells whether it was committed.
    pub(crate) async fn write(&mut self, member: &Member, key: &Arc<str>, remove: bool) -> bool {
        let new = (!remove).then(|| self.fresh());
        let called = self.cluster.world.oracle.history(|history| history.call(key));
        let (store, name) = (member.store.clone(), key.clone());
        let written = member.ask(DEADLINE, async move { store.update(|tx| swap(tx, &name, new)).await }).await;
        let Some(result) = written else {
            self.cluster.world.oracle.history(|history| history.unknown(called, new));
            return false;
        };
        self.settle(called, key, new, result)
    }

    fn settle(&self, called: Called, key: &Arc<str>, new: Value, result: Result<Committed<Value>, StoreError>) -> bool {
        let oracle = &self.cluster.world.oracle;
        match result {
            // A transaction that writes nothing proposes nothing: it is a look at one replica, and promises no more.
            Ok(Committed { value: None, .. }) if new.is_none() => false,
            Ok(Committed { value: old, version }) => {
                oracle.history(|history| history.returns(called, Action::Swap { new, old: Some(old) }));
                oracle.acknowledged(Acknowledged { version: version.0, key: key.clone(), value: new });
                self.note(format_args!("{key}={new:?} is version {}", version.0));
                true
            }
            Err(error) => {
                let forgotten = self.cluster.world.bug == Some(Bug::UnknownIsFailed);
                if may_have_happened(&error) && !forgotten {
                    oracle.history(|history| history.unknown(called, new));
                }
                self.note(format_args!("{key}={new:?} fails: {error}"));
                false
            }
        }
    }

    /// Writes two objects in one transaction.
    async fn write_twins(&mut self, member: &Member) {
        let new = self.fresh();
        let store = member.store.clone();
        let both = async move {
            store.update(|tx| TWINS.iter().try_for_each(|key| swap(tx, &Arc::from(*key), Some(new)).map(|_| ()))).await
        };
        // Whether it succeeds or not, nobody may ever see half of it.
        let _: Option<Result<Committed<()>, StoreError>> = member.ask(DEADLINE, both).await;
    }

    /// Reads what is newest.
    async fn read(&mut self, member: &Member, key: &Arc<str>) {
        let oracle = self.cluster.world.oracle.clone();
        let called = oracle.history(|history| history.call(key));
        let blind = self.cluster.world.bug == Some(Bug::DeposedRead);
        let (raft, store, name) = (member.raft.clone(), member.store.clone(), key.clone());
        let read = async move {
            if !blind {
                raft.read_barrier().await?;
            }
            Ok::<_, RaftError>(value_at(&store, &name))
        };
        // Who got no answer has seen nothing.
        if let Some(Ok(value)) = member.ask(DEADLINE, read).await {
            oracle.history(|history| history.returns(called, Action::Read(value)));
        }
    }

    fn fresh(&mut self) -> u64 {
        self.next += self.step;
        self.next
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.cluster.world.trace.line(format_args!("client{}", self.next % self.step), what);
    }
}

fn value_at(store: &Store, key: &str) -> Value {
    store.view().get::<Config>(&ConfigId::from(key)).map(|config| value_of(config))
}

/// Writes `new` under a key, or removes it, and gives what was there.
fn swap(tx: &mut Transaction, key: &str, new: Value) -> Result<Value, StoreError> {
    let id = ConfigId::from(key);
    let found = tx.get::<Config>(&id).cloned();
    let old = found.as_deref().map(value_of);
    match (found, new) {
        (None, None) => {}
        (Some(_), None) => drop(tx.delete::<Config>(&id)?),
        (None, Some(value)) => drop(tx.create(config(id, value))?),
        (Some(_), Some(value)) => drop(tx.edit::<Config>(&id, |found| found.spec = spec(key, value))?),
    }
    Ok(old)
}

fn config(id: ConfigId, value: u64) -> Config {
    let spec = spec(id.as_ref(), value);
    Config { spec, ..Config::new(id) }
}

fn spec(key: &str, value: u64) -> Arc<wire::ConfigSpec> {
    let annotations = Some(wire::Annotations { name: key.to_owned(), ..Default::default() });
    Arc::new(wire::ConfigSpec { annotations, data: value.to_le_bytes().to_vec().into(), ..Default::default() })
}

/// Watches one replica after the other, without ever starting over if that can be avoided.
pub(crate) async fn watch(cluster: Cluster, mut rng: SmallRng) {
    let mut mirror = Mirror::default();
    loop {
        tokio::time::sleep(Duration::from_millis(rng.random_range(1..100))).await;
        let Some(member) = cluster.any(&mut rng).member() else { continue };
        let interest = || Interest::none().kinds([Kind::Config]);
        let resumed = member.store.watch_from(Version(mirror.version().max(Version::EMPTY.0)), interest());
        let mut watch = match resumed {
            // One that has told nothing yet starts like everybody.
            Ok(watch) if mirror.version() > 0 => watch,
            _ => member.store.watch(interest()),
        };
        let updates = rng.random_range(1..60);
        for _ in 0..updates {
            let update = tokio::select! { biased; // the dead tell nothing
                () = member.life.cancelled() => break,
                update = watch.next() => update,
            };
            let Ok(update) = update else { break };
            let Some(update) = dropped(&cluster, &mut watch, update) else { break };
            absorb(&cluster, &mut mirror, &update);
            if rng.random_bool(0.1) {
                tokio::time::sleep(Duration::from_millis(rng.random_range(1..400))).await;
            }
        }
    }
}

/// The update, or the one after it if this is the mistake to be made.
fn dropped(cluster: &Cluster, watch: &mut Watch, update: Update) -> Option<Update> {
    if cluster.world.bug != Some(Bug::WatchDrops) {
        return Some(update);
    }
    match watch.try_next() {
        Ok(Some(next)) => Some(next),
        Ok(None) => Some(update),
        Err(_) => None,
    }
}

fn absorb(cluster: &Cluster, mirror: &mut Mirror, update: &Update) {
    match update {
        Update::Snapshot(view) => mirror.replace(view.version().0, contents(view)),
        Update::Delta(delta) => {
            let changes: Vec<Told> = delta.changes.iter().filter_map(told).collect();
            cluster.world.oracle.told(mirror, delta.version.0, &changes);
        }
    }
}

fn told(change: &Change) -> Option<Told> {
    let Change::Config(edit) = change else { return None };
    let value = |config: &Option<Arc<Config>>| config.as_deref().map(value_of);
    Some((Arc::from(edit.id().as_ref()), value(&edit.before), value(&edit.after)))
}
