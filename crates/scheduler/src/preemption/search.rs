//! Where room is made for a task, and whether what was claimed still will do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use swarmkit_api::{NodeId, Service, ServiceId, Task, TaskId};
use swarmkit_store::{State, TaskBy};

use super::{
    Budgets, Claims, max_disrupted, priority,
    site::Site,
    victims::{Harm, Tenant, choose},
};
use crate::{
    books::{NodeIx, is_active, takes_tasks},
    draft::Draft,
    needs::Needs,
    volumes::Waiter,
    world::{World, is_placed},
};

/// For how many tasks room is made in one pass. The others have their turn in the next one.
const CLAIMS_MAX: usize = 100;

/// After how many nodes that were looked at no other tasks are begun with in one pass. These have their turn in the next
/// one, too.
const NODES_MAX: usize = 20_000;

/// Services that limit how many of their tasks may be missing, and who might have got the room of some.
pub(crate) type Limited = BTreeMap<ServiceId, BTreeSet<Waiter>>;

/// A task that needs room, and what is known about it.
#[derive(Clone, Copy)]
pub(crate) struct Seeker<'s> {
    pub(crate) task: &'s Task,
    pub(crate) needs: &'s Needs,
    pub(crate) priority: i32,
}

/// What is known about room while a plan is made.
#[derive(Debug)]
pub(crate) struct Making<'w> {
    world: &'w World,
    pub(crate) claims: Claims,
    /// Tasks that were told in this plan to make room.
    going: BTreeSet<TaskId>,
    budgets: Budgets,
    /// For how many tasks room was made in this plan.
    made: usize,
    /// How many nodes were looked at for that.
    looked_at: usize,
    pub(crate) limited: Limited,
}

/// Room that can be made on a node.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    harm: Harm,
    pub(crate) node: NodeId,
    /// The tasks that have to go.
    pub(crate) gone: Vec<Tenant>,
    /// Tasks that go anyway, and whose room is needed, too.
    pub(crate) leaving: Vec<TaskId>,
}

/// Offers, the least harm first. What happened since they were made can only have made them worse.
#[derive(Debug, Default)]
pub(crate) struct Offers(BTreeMap<(Harm, NodeId), Offer>);

impl<'w> Making<'w> {
    pub(crate) fn of(world: &'w World) -> Self {
        Self {
            world,
            claims: world.room.claims.clone(),
            going: BTreeSet::new(),
            budgets: Budgets::default(),
            made: 0,
            looked_at: 0,
            limited: Limited::new(),
        }
    }

    /// Whether enough was decided for one pass.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.made >= CLAIMS_MAX
    }

    /// Whether enough was looked at for one pass, so that nobody is begun with.
    pub(crate) fn has_looked_enough(&self) -> bool {
        self.looked_at >= NODES_MAX
    }

    /// What is said of the services that cannot spare the tasks that would have had to go for someone.
    pub(crate) fn limiting(&self, waiter: &Waiter) -> Vec<String> {
        let all = self.limited.iter().chain(self.world.limited());
        let limiting: BTreeSet<_> = all.filter(|(_, waiters)| waiters.contains(waiter)).map(|(id, _)| id).collect();
        let services = limiting.into_iter().filter_map(|id| self.world.services.get(id));
        let name =
            |service: &Service| service.spec.annotations.as_ref().map(|own| own.name.clone()).unwrap_or_default();
        services.map(|service| format!("service {} can spare no more tasks", name(service))).collect()
    }

    /// Whether a node that has room for a task now leaves enough for those for which room is kept there, as far as they are
    /// not less important.
    pub(crate) fn admits(&self, draft: &Draft<'_>, seeker: Seeker<'_>, node: &NodeId) -> bool {
        self.rivals(seeker, node).next().is_none() || self.will_have_room(draft, seeker, node)
    }

    /// Whether a node will have room for a task when all have gone that were told to.
    pub(crate) fn will_have_room(&self, draft: &Draft<'_>, seeker: Seeker<'_>, node: &NodeId) -> bool {
        if self.world.books.find(node).is_some_and(|ix| self.is_barred(draft, seeker.task, ix)) {
            return false;
        }
        let state = self.world.state();
        let site = state.and_then(|state| self.foreseen(draft, state, seeker, node));
        site.is_some_and(|site| site.fits())
    }

    /// What room could be made on these nodes.
    pub(crate) fn offers<'n>(
        &mut self,
        draft: &Draft<'_>,
        seeker: Seeker<'_>,
        nodes: impl IntoIterator<Item = &'n NodeId>,
        waiter: &Waiter,
    ) -> Offers {
        let offers = nodes.into_iter().filter_map(|node| self.offer(draft, seeker, node, waiter));
        Offers(offers.map(|offer| ((offer.harm.clone(), offer.node.clone()), offer)).collect())
    }

    /// The offer that does the least harm, which is thereby used up.
    pub(crate) fn take(
        &mut self,
        offers: &mut Offers,
        draft: &Draft<'_>,
        seeker: Seeker<'_>,
        waiter: &Waiter,
    ) -> Option<Offer> {
        while let Some(((harm, node), _)) = offers.0.pop_first() {
            let Some(offer) = self.offer(draft, seeker, &node, waiter) else { continue };
            if offer.harm > harm {
                offers.0.insert((offer.harm.clone(), node), offer);
                continue;
            }
            // The node may have room to make for another one.
            offers.0.insert((harm, node), offer.clone());
            return Some(offer);
        }
        None
    }

    /// Keeps the room of an offer for a task.
    pub(crate) fn accept(&mut self, task: &Arc<Task>, offer: &Offer) {
        self.claims.keep(task, &offer.node);
        for tenant in &offer.gone {
            self.going.insert(tenant.task.id.clone());
            self.budgets.take(&tenant.service, u64::from(tenant.is_missed()));
        }
        self.made += 1;
    }

    /// The least that has to go from a node, if its going makes room for a task.
    fn offer(&mut self, draft: &Draft<'_>, seeker: Seeker<'_>, node: &NodeId, waiter: &Waiter) -> Option<Offer> {
        let world = self.world;
        let state = world.state()?;
        self.looked_at += 1;
        let ix = world.books.find(node)?;
        draft.book(ix).node.as_deref().filter(|node| takes_tasks(node))?;
        if self.is_barred(draft, seeker.task, ix) {
            return None;
        }
        let leaving: Vec<_> = self.leaving(state, node).map(|task| task.id.clone()).collect();
        let tenants = self.tenants(draft, state, seeker, node);
        if leaving.is_empty() && tenants.is_empty() {
            return None;
        }
        let mut foreseen = self.foreseen(draft, state, seeker, node)?;
        if foreseen.fits() {
            return Some(Offer { harm: Harm::of(&[]), node: node.clone(), gone: Vec::new(), leaving });
        }
        let services = tenants.iter().filter_map(|tenant| world.services.get(&tenant.service));
        let limited: Vec<&Arc<Service>> = services.clone().filter(|service| max_disrupted(service).is_some()).collect();
        let spare =
            services.filter_map(|service| self.budgets.spare(state, service).map(|spare| (service.id.clone(), spare)));
        let spare = spare.collect();
        let Some(gone) = choose(tenants, &spare, &mut foreseen) else {
            for service in limited {
                self.limited.entry(service.id.clone()).or_default().insert(waiter.clone());
            }
            return None;
        };
        let mut at_once = self.with_rivals(draft, seeker, node)?;
        gone.iter().for_each(|tenant| at_once.leave(&tenant.task));
        let leaving = if at_once.fits() { Vec::new() } else { leaving };
        Some(Offer { harm: Harm::of(&gone), node: node.clone(), gone, leaving })
    }

    /// Whether a task has to be elsewhere, for the company that it would have or others wait there to be. Nobody is made to go
    /// for that.
    fn is_barred(&self, draft: &Draft<'_>, task: &Task, ix: NodeIx) -> bool {
        let Some(company) = draft.company(task.service_id.as_ref()) else { return false };
        let awaited = self.claims.all().filter(|(other, _)| other.id != task.id);
        let mut awaited =
            awaited.filter_map(|(other, node)| Some((other.service_id.as_ref()?, self.world.books.find(node)?)));
        draft.bars(&company, task, ix).is_some() || awaited.any(|(other, at)| company.keeps_apart(ix, other, at))
    }

    /// The tasks of a node that could be made to go for another one.
    fn tenants(&self, draft: &Draft<'_>, state: &State, seeker: Seeker<'_>, node: &NodeId) -> Vec<Tenant> {
        let company = draft.company(seeker.task.service_id.as_ref());
        let here = state.find(TaskBy::Node(Some(node))).filter(|task| is_placed(task));
        let here = here.filter(|task| is_active(task) && !self.going.contains(&task.id));
        let tenant = |task: &Arc<Task>| {
            let service = self.world.services.get(task.service_id.as_ref()?)?;
            let (priority, is_limited) = (priority(Some(service)), max_disrupted(service).is_some());
            let tenant = Tenant { task: task.clone(), service: service.id.clone(), priority, is_limited };
            let is_needed = || company.as_ref().is_some_and(|company| company.needs(&service.id));
            (priority < seeker.priority && !is_needed()).then_some(tenant)
        };
        here.filter_map(tenant).collect()
    }

    /// The tasks that are on their way out of a node.
    fn leaving<'t>(&'t self, state: &'t State, node: &NodeId) -> impl Iterator<Item = &'t Arc<Task>> {
        let here = state.find(TaskBy::Node(Some(node))).filter(|task| is_placed(task));
        here.filter(|task| !is_active(task) || self.going.contains(&task.id))
    }

    /// A node when all have gone that were told to, and those have come for whom room is kept.
    fn foreseen<'d>(&self, draft: &'d Draft<'_>, state: &State, seeker: Seeker<'d>, node: &NodeId) -> Option<Site<'d>> {
        let mut site = self.with_rivals(draft, seeker, node)?;
        self.leaving(state, node).for_each(|task| site.leave(task));
        Some(site)
    }

    /// A node when those have come for whom room is kept.
    fn with_rivals<'d>(&self, draft: &'d Draft<'_>, seeker: Seeker<'d>, node: &NodeId) -> Option<Site<'d>> {
        let service = seeker.task.service_id.as_ref();
        let mut site = Site::of(draft, self.world.books.find(node)?, seeker.needs, service);
        self.rivals(seeker, node).for_each(|rival| site.come(rival, service));
        Some(site)
    }

    /// Those for whom room is kept on a node, and kept from this task.
    fn rivals(&self, seeker: Seeker<'_>, node: &NodeId) -> impl Iterator<Item = &Arc<Task>> {
        let id = &seeker.task.id;
        let matters = move |rival: &&Arc<Task>| rival.id != *id && self.priority(rival) >= seeker.priority;
        self.claims.on(node).filter(matters)
    }

    pub(crate) fn priority(&self, task: &Task) -> i32 {
        self.world.priority(task.service_id.as_ref())
    }
}
