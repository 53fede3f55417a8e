//! One run: a cluster, a load, rounds of faults, and what must hold after each.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use swarmkit_runtime::{Crew, Spawner};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    check,
    cluster::Cluster,
    history::{Call, History, Kind, Name, Outcome, Tag},
    load::{self, NAMES, Worker},
    members,
    network::Network,
    plan::{self, Fault},
    report::{Counts, Report},
    watcher::{self, Watched},
};

/// How many clients there are. More than members, so that each has several.
const CLIENTS: u32 = 8;

/// How long the cluster may take until it takes writes through every member, after everything was taken back.
const ALIVE_LIMIT: Duration = Duration::from_secs(60);

/// How long watches may take to tell what was acknowledged, and clients to end what they had begun.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// How long a polite stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Time between two looks at whether something has come about.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long the cluster is left alone between two rounds at most, in milliseconds.
const QUIET_MS: u64 = 400;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The daemon.
    pub swarmd: PathBuf,
    /// Where state, logs and the history go.
    pub dir: PathBuf,
    /// How many managers.
    pub managers: usize,
    /// How many rounds.
    pub rounds: u32,
    /// What all chance comes from.
    pub seed: u64,
}

/// Runs it, and says what it found. `progress` gets a line now and then.
///
/// # Errors
///
/// When the run itself cannot go on: a cluster that does not stand, a tool that is not there. What is wrong with the
/// cluster under test is in the report.
pub async fn run(plan: &Plan, network: Network, progress: impl Fn(&str)) -> Result<Report> {
    let history = Arc::new(History::new(&plan.dir.join("history.jsonl"))?);
    progress(&format!("{} managers; {}", plan.managers, network.describe()));
    let cluster = Cluster::found(&plan.swarmd, &plan.dir, network, plan.managers).await?;
    let watched = Watched::default();
    let (stop, stop_watching) = (CancellationToken::new(), CancellationToken::new());
    let (clients, watchers) = (Crew::under(&stop), Crew::under(&stop_watching));
    start_watchers(&cluster, &watched, &watchers.spawner(), &stop_watching);
    let round = watch::Sender::new(0);
    start_clients(&cluster, &history, &round, plan.seed, &clients.spawner(), &stop);

    let mut run = Run {
        plan,
        cluster,
        history,
        watched,
        round,
        counts: Counts::default(),
        faults: Vec::new(),
        ids: BTreeMap::new(),
    };
    let result = run.rounds(&progress).await;
    stop.cancel();
    clients.join().await;
    let result = match result {
        Ok(()) if run.faults.is_empty() => run.end().await,
        other => other,
    };
    stop_watching.cancel();
    watchers.join().await;
    // A cluster that cannot go on is what the run is there to find.
    run.faults.extend(result.err().map(|error| format!("{error:#}")));
    run.faults.extend(panics(&run.cluster));
    let _ = run.history.note("end");
    let (resumes, resyncs) = run.watched.look(|told| (told.resumes, told.resyncs));
    let counts = Counts { resumes, resyncs, ..run.counts };
    Ok(Report { counts, tally: run.history.tally(), faults: run.faults })
}

fn start_watchers(cluster: &Cluster, watched: &Watched, spawner: &Spawner, stop: &CancellationToken) {
    for member in cluster.members() {
        drop(spawner.spawn("watcher", watcher::run(member.index(), member.socket(), watched.clone(), stop.clone())));
    }
}

fn start_clients(
    cluster: &Cluster,
    history: &Arc<History>,
    round: &watch::Sender<u32>,
    seed: u64,
    spawner: &Spawner,
    stop: &CancellationToken,
) {
    for number in 0..CLIENTS {
        let worker = Worker {
            number,
            sockets: cluster.members().iter().map(super::member::Member::socket).collect(),
            history: history.clone(),
            round: round.subscribe(),
            rng: SmallRng::seed_from_u64(seed ^ (u64::from(number) << 32)),
        };
        drop(spawner.spawn("client", worker.run(stop.clone())));
    }
}

struct Run<'a> {
    plan: &'a Plan,
    cluster: Cluster,
    history: Arc<History>,
    watched: Watched,
    round: watch::Sender<u32>,
    counts: Counts,
    faults: Vec<String>,
    /// Which object a write has made, as watches have told.
    ids: BTreeMap<Tag, String>,
}

impl Run<'_> {
    async fn rounds(&mut self, progress: &impl Fn(&str)) -> Result<()> {
        for number in 0..self.plan.rounds {
            let began = Instant::now();
            let what = self.round(number).await.with_context(|| format!("round {number}"))?;
            let tally = self.history.tally();
            progress(&format!(
                "round {number}: {what}; alive again {:.2} s after; {} writes so far, {} unknown; {:.1} s",
                self.counts.alive_last.as_secs_f64(),
                tally.accepted,
                tally.unknown,
                began.elapsed().as_secs_f64()
            ));
            if !self.faults.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// One round, in words.
    async fn round(&mut self, number: u32) -> Result<String> {
        let mut rng = SmallRng::seed_from_u64(self.plan.seed ^ u64::from(number).rotate_left(20));
        sleep(Duration::from_millis(rng.random_range(0..=QUIET_MS))).await;
        let what = self.strike(number).await?;
        let healed = Instant::now();
        for member in 0..self.plan.managers {
            self.alive(number, member).await?;
        }
        self.counts.alive_last = healed.elapsed();
        self.counts.alive_slowest = self.counts.alive_slowest.max(healed.elapsed());
        self.judge(number).await?;
        self.counts.rounds += 1;
        Ok(what)
    }

    /// Does to the cluster what is planned, and takes all of it back.
    async fn strike(&mut self, number: u32) -> Result<String> {
        let managers = self.plan.managers;
        let leader = self.cluster.leader().await.unwrap_or_else(|| usize::try_from(number).unwrap_or(0) % managers);
        let mut steps = Vec::new();
        let mut told = Vec::new();
        for planned in plan::round(self.plan.seed, number, managers, self.cluster.network().can_cut()) {
            let member = planned.target.member(leader, managers);
            steps.push((planned.after, member, planned.fault, true));
            steps.push((planned.after + planned.lasts, member, planned.fault, false));
            let whom = if member == leader { "leader " } else { "" };
            told.push(format!("{:?} {whom}{member} for {} ms", planned.fault, planned.lasts.as_millis()));
        }
        steps.sort_by_key(|(at, ..)| *at);
        let began = Instant::now();
        for (at, member, fault, begins) in steps {
            sleep_until(began + at).await;
            self.history.note(&format!("{fault:?} of {member} {}", if begins { "begins" } else { "ends" }))?;
            self.apply(member, fault, begins).with_context(|| format!("{fault:?} of {member}"))?;
        }
        Ok(told.join(", "))
    }

    fn apply(&mut self, member: usize, fault: Fault, begins: bool) -> Result<()> {
        match (fault, begins) {
            (Fault::Kill, true) => {
                self.unexpected_end(member)?;
                self.counts.kills += 1;
                self.cluster.member_mut(member).kill()
            }
            (Fault::Kill, false) => self.cluster.restart(member),
            (Fault::Pause, true) => {
                self.counts.pauses += 1;
                self.cluster.members()[member].pause()
            }
            (Fault::Pause, false) => self.cluster.members()[member].resume(),
            (Fault::Cut(cut), true) => {
                self.counts.cuts += 1;
                self.cluster.network().cut(member, cut)
            }
            (Fault::Cut(cut), false) => self.cluster.network().mend(member, cut),
        }
    }

    /// An error if a member has ended by itself.
    fn unexpected_end(&mut self, member: usize) -> Result<()> {
        match self.cluster.member_mut(member).has_ended()? {
            None => Ok(()),
            Some(status) => {
                let tail = self.cluster.members()[member].tail();
                Err(anyhow!("member {member} has ended by itself: {status}\n{tail}"))
            }
        }
    }

    /// Waits until a write through this member is accepted.
    async fn alive(&mut self, round: u32, member: usize) -> Result<()> {
        let until = Instant::now() + ALIVE_LIMIT;
        let mut client = self.cluster.members()[member].client();
        // Names beyond those that clients use, and another one after each attempt of unknown fate.
        for attempt in 0.. {
            let number = NAMES + attempt * u32::try_from(self.plan.managers)? + u32::try_from(member)?;
            let name = Name { kind: Kind::Config, round, number };
            let call = Call::Create { tag: self.history.next_tag() };
            let outcome = load::perform(&self.history, CLIENTS, &mut client, member, &name, call).await?;
            match outcome {
                Outcome::Written(_) => return Ok(()),
                other if Instant::now() > until => {
                    let tail = self.cluster.members()[member].tail();
                    let limit = ALIVE_LIMIT.as_secs();
                    return Err(anyhow!(
                        "member {member} takes no write {limit} s after all is well: {other:?}\n{tail}"
                    ));
                }
                _ => self.unexpected_end(member)?,
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Looks whether all that clients and watches were told in this round fits together.
    async fn judge(&mut self, round: u32) -> Result<()> {
        // What comes later may be about names of the next round, which is judged next time.
        let horizon = self.watched.horizon(self.plan.managers);
        self.round.send_replace(round + 1);
        let until = Instant::now() + SETTLE_LIMIT;
        while self.history.is_open(round) && Instant::now() < until {
            sleep(LOOK_AGAIN).await;
        }
        self.read_all(round).await?;
        self.settled(until).await?;
        let histories = self.history.take(round);
        let newest = self.watched.take_faults();
        let (ids, watches, writes) = self.watched.look(|told| {
            let made = told.events.values().flatten().map(|event| (event.seen.tag, event.seen.id.clone()));
            (made.collect::<Vec<_>>(), check::watches(told), check::writes(&histories, told))
        });
        self.ids.extend(ids);
        let names = check::names(&histories, &self.ids);
        self.ids.clear();
        self.counts.names += names.fit;
        self.counts.undecided += names.undecided;
        for faults in [newest, watches, writes, names.faults] {
            self.faults.extend(faults);
        }
        if let Some(horizon) = horizon {
            self.watched.forget(horizon);
        }
        Ok(())
    }

    /// Reads every name of a round through some member.
    async fn read_all(&mut self, round: u32) -> Result<()> {
        let mut clients: Vec<_> = self.cluster.members().iter().map(super::member::Member::client).collect();
        for (nth, (kind, number)) in [Kind::Config, Kind::Secret]
            .into_iter()
            .flat_map(|kind| (0..NAMES).map(move |number| (kind, number)))
            .enumerate()
        {
            let member = nth % self.plan.managers;
            let name = Name { kind, round, number };
            load::perform(&self.history, CLIENTS, &mut clients[member], member, &name, Call::Find).await?;
        }
        Ok(())
    }

    /// Waits until the watches of all members have told a write that is accepted now.
    async fn settled(&mut self, until: Instant) -> Result<()> {
        let round = *self.round.borrow();
        let number = u32::MAX;
        let name = Name { kind: Kind::Secret, round, number };
        let mut client = self.cluster.members()[0].client();
        let version = loop {
            let call = Call::Create { tag: self.history.next_tag() };
            match load::perform(&self.history, CLIENTS, &mut client, 0, &name, call).await? {
                Outcome::Written(seen) => break seen.version + 1,
                // An attempt of unknown fate has happened after all.
                Outcome::Taken => {
                    if let Outcome::Found(seen) =
                        load::perform(&self.history, CLIENTS, &mut client, 0, &name, Call::Find).await?
                    {
                        break seen.version + 1;
                    }
                }
                other if Instant::now() > until => {
                    return Err(anyhow!("no write is taken when all is well: {other:?}"));
                }
                _ => sleep(LOOK_AGAIN).await,
            }
        };
        loop {
            match self.watched.horizon(self.plan.managers) {
                Some(horizon) if horizon >= version => return Ok(()),
                horizon if Instant::now() > until => {
                    return Err(anyhow!("watches are at {horizon:?} and do not come to {version}"));
                }
                _ => sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// The cluster is as it should be, on every member alike, also after all of it was stopped and started again.
    async fn end(&mut self) -> Result<()> {
        let last = self.plan.rounds;
        self.judge(last).await?;
        let before = self.agreed().await?;
        self.counts.objects = before.first().map_or(0, members::Copy::len);
        self.cluster.stop(STOP_LIMIT).await.context("stopping all members")?;
        for member in 0..self.plan.managers {
            self.cluster.restart(member)?;
        }
        for member in 0..self.plan.managers {
            self.alive(last + 2, member).await.context("after a cold start")?;
        }
        self.judge(last + 2).await?;
        let after = self.agreed().await?;
        self.faults.extend(members::lost(&before, &after));
        self.cluster.stop(STOP_LIMIT).await.context("stopping all members for good")
    }

    /// What all members have. Nodes report now and then, so two copies may be of different moments: what does not become
    /// the same is wrong.
    async fn agreed(&mut self) -> Result<Vec<members::Copy>> {
        let until = Instant::now() + SETTLE_LIMIT;
        loop {
            let list = |member| members::copy(&self.cluster, member);
            let copies: Vec<_> = (0..self.plan.managers).map(list).collect::<Result<_>>()?;
            let differences = members::differences(&copies);
            if differences.is_empty() || Instant::now() > until {
                self.faults.extend(differences);
                return Ok(copies);
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

/// Panics that daemons have logged.
fn panics(cluster: &Cluster) -> Vec<String> {
    let logged = |log: &Path| std::fs::read_to_string(log).unwrap_or_default();
    let panicked = |line: &&str| line.contains("panicked");
    let members = cluster.members().iter();
    members
        .flat_map(|member| {
            let text = logged(&member.log());
            let lines: Vec<_> = text.lines().filter(panicked).map(str::to_owned).collect();
            lines.into_iter().map(move |line| format!("member {}: {line}", member.index()))
        })
        .collect()
}
