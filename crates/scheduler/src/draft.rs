//! A plan in the making: what it has booked so far lies over the books, which stay as they are.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use swarmkit_api::{Descriptor, Node, ServiceId, Task, wire::GenericResource};

use crate::{
    affinity::Company,
    books::{NodeBook, NodeIx, is_active},
    branches::Tree,
    feasible::Class,
    loads::{Levels, Loads},
    needs::Needs,
    reasons::{Reason, Tally},
    search::{Search, Situation, Tiers},
    volumes::{Chosen, Volumes, attachments},
    world::World,
};

/// The world as it would be after what has been decided so far.
pub(crate) struct Draft<'w> {
    pub(crate) world: &'w World,
    pub(crate) now: SystemTime,
    pub(crate) volumes: Volumes,
    /// The books of nodes that are different by now.
    touched: Vec<Option<Box<NodeBook>>>,
    loads: Loads,
    /// Of the services that were asked for.
    levels: BTreeMap<ServiceId, Levels>,
    no_service: Levels,
    trees: BTreeMap<&'w [Descriptor], Arc<Tree>>,
    /// How often something was booked.
    pub(crate) bookings: usize,
}

/// What a task is given on a node.
pub(crate) struct Given {
    pub(crate) node: Arc<Node>,
    pub(crate) generic: Vec<GenericResource>,
    pub(crate) volumes: Vec<Chosen>,
}

impl<'w> Draft<'w> {
    pub(crate) fn of(world: &'w World, now: SystemTime) -> Self {
        Self {
            world,
            now,
            volumes: world.books.volumes.clone(),
            touched: std::iter::repeat_with(|| None).take(world.books.len()).collect(),
            loads: world.books.loads().clone(),
            levels: BTreeMap::new(),
            no_service: Levels::default(),
            trees: BTreeMap::new(),
            bookings: 0,
        }
    }

    pub(crate) fn book(&self, ix: NodeIx) -> &NodeBook {
        self.touched[ix].as_deref().unwrap_or_else(|| self.world.books.get(ix))
    }

    /// The nodes in the eyes of one that needs this.
    pub(crate) fn class(&self, needs: &Needs) -> Arc<Class> {
        self.world.feasible.class(&needs.fixed, &self.world.books)
    }

    /// A search for nodes for tasks like this one.
    pub(crate) fn search(&mut self, needs: &'w Needs, task: &Task, company: Option<&Company<'_>>) -> Search {
        let (world, service) = (self.world, task.service_id.as_ref());
        let key = service.map(|service| (service.clone(), task.spec_version));
        let tiers = key.map(|key| Tiers::of(&world.books.faulty(&key, self.now))).unwrap_or_default();
        let (class, strategy, tree) = (self.class(needs), world.strategy(service), self.tree(&needs.levels));
        self.count_service(service);
        let mut search = Search::new(class, tiers, strategy, tree, self.levels(service));
        company.into_iter().flat_map(Company::effects).for_each(|effect| search.take_over(&effect));
        search
    }

    /// What binds tasks of a service to others, as they would be now. `None` if nothing does.
    pub(crate) fn company<'s>(&self, service: Option<&'s ServiceId>) -> Option<Company<'s>>
    where
        'w: 's,
    {
        let there = |service: &ServiceId| match self.levels.get(service) {
            Some(levels) => levels.any.clone(),
            None => self.world.books.levels(service).any,
        };
        Company::of(&self.world.affinities, &self.world.places, service?, there)
    }

    /// The node that is to be tried next.
    pub(crate) fn next(&self, search: &mut Search, service: Option<&ServiceId>) -> Option<NodeIx> {
        search.next(&Situation { loads: &self.loads, levels: self.levels(service), book: &|ix| self.book(ix) })
    }

    /// What a task has to be near to, or apart from, and is not on a node.
    pub(crate) fn bars(&self, company: &Company<'_>, task: &Task, ix: NodeIx) -> Option<Reason> {
        let own = |ix: NodeIx| self.active_of(task.service_id.as_ref(), ix);
        company.refusal_beside(ix, &self.world.mates(task), &own).map(Reason::Affinity)
    }

    /// The nodes by the values of labels.
    fn tree(&mut self, labels: &'w [Descriptor]) -> Option<Arc<Tree>> {
        if labels.is_empty() {
            return None;
        }
        let books = &self.world.books;
        Some(self.trees.entry(labels).or_insert_with(|| Tree::of(books, labels)).clone())
    }

    /// The nodes that have active tasks of a service, if it was [counted](Self::count_service).
    fn levels(&self, service: Option<&ServiceId>) -> &Levels {
        service.and_then(|service| self.levels.get(service)).unwrap_or(&self.no_service)
    }

    /// Keeps count of the tasks of a service from now on.
    fn count_service(&mut self, service: Option<&ServiceId>) {
        if let Some(service) = service.filter(|service| !self.levels.contains_key(*service)) {
            self.levels.insert(service.clone(), self.world.books.levels(service));
        }
    }

    /// How many active tasks of a service are on a node.
    pub(crate) fn active_of(&self, service: Option<&ServiceId>, ix: NodeIx) -> u32 {
        let Some(service) = service else { return 0 };
        match self.levels.get(service) {
            Some(levels) => levels.count(ix),
            None => self.world.books.active_of(service, ix),
        }
    }

    /// Why a node that is fit as far as its record goes cannot take one more task.
    pub(crate) fn lack(&self, needs: &Needs, service: Option<&ServiceId>, ix: NodeIx) -> Option<Reason> {
        let of_service = if needs.counts_service() { self.active_of(service, ix) } else { 0 };
        needs.lack(self.book(ix), of_service, &self.volumes)
    }

    /// Why a node, whatever it is, cannot take one more task.
    pub(crate) fn refusal(&self, needs: &Needs, service: Option<&ServiceId>, ix: NodeIx) -> Option<Reason> {
        let of_service = if needs.counts_service() { self.active_of(service, ix) } else { 0 };
        needs.refusal(self.book(ix), of_service, &self.volumes)
    }

    /// Books a task on a node, and gives it what it asks for there.
    pub(crate) fn give(&mut self, task: &Task, needs: &Needs, ix: NodeIx) -> Option<Given> {
        let node = self.book(ix).node.clone()?;
        let generic = needs.resources.as_ref().map(|wanted| self.book(ix).choose(wanted)).unwrap_or_default();
        let volumes = self.volumes.choose(&needs.volumes, &node).unwrap_or_default();
        if !volumes.is_empty() {
            let given = (Some(node.id.clone()), attachments(&volumes));
            let mut booked = Task::clone(task);
            (booked.node_id, booked.volumes) = given;
            self.volumes.add(&booked);
        }
        let books = &self.world.books;
        let book = self.touched[ix].get_or_insert_with(|| Box::new(books.get(ix).clone()));
        let before = book.active;
        book.add(task, &generic);
        self.loads.shift(ix, Some(before), Some(book.active));
        if let Some(service) = task.service_id.as_ref().filter(|_| is_active(task)) {
            self.count_service(Some(service));
            if let Some(levels) = self.levels.get_mut(service) {
                let count = levels.count(ix);
                levels.shift(ix, count, count + 1);
            }
        }
        self.bookings += 1;
        Some(Given { node, generic, volumes })
    }

    /// Why no node can take one more task.
    pub(crate) fn explain(&self, needs: &Needs, service: Option<&ServiceId>) -> Tally {
        let company = self.company(service);
        let bars = |ix: NodeIx| company.as_ref()?.refusal(ix).map(Reason::Affinity);
        let class = self.class(needs);
        let mut counts = class.refused.clone();
        if !needs.is_only_fixed() || company.is_some() {
            let lacking = class.fit.iter().filter_map(|ix| self.lack(needs, service, ix).or_else(|| bars(ix)));
            lacking.for_each(|reason| *counts.entry(reason).or_default() += 1);
        }
        if needs.resources.is_some() {
            // What a node lacks is told before what it is not.
            for (ix, _) in self.world.books.nodes() {
                let Some(reason) = class.refusal(ix).filter(|reason| *reason > Reason::Resources) else { continue };
                if self.lack(needs, service, ix) == Some(Reason::Resources) {
                    *counts.entry(Reason::Resources).or_default() += 1;
                    if let Some(count) = counts.get_mut(&reason) {
                        *count -= 1;
                    }
                }
            }
            counts.retain(|_, count| *count > 0);
        }
        let tally = Tally::of(counts, class.nodes(), needs.fixed.kind().map(str::to_owned));
        tally.bound(company.as_ref().map(Company::told).unwrap_or_default())
    }
}
