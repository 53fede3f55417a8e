//! A node as it would be.

use std::borrow::Cow;

use swarmkit_api::{ServiceId, Task};

use super::victims::{Tenant, Trial};
use crate::{
    books::{NodeBook, NodeIx, is_active, wanted},
    draft::Draft,
    needs::Needs,
    volumes::Volumes,
};

/// What would be booked on one node if some had left it, and others had come, in the eyes of a task that looks for room.
pub(crate) struct Site<'d> {
    needs: &'d Needs,
    book: NodeBook,
    /// Active tasks of the service of that task.
    of_service: u32,
    /// Kept up only if it mounts any.
    volumes: Cow<'d, Volumes>,
}

impl<'d> Site<'d> {
    /// The node as it is in a plan.
    pub(crate) fn of(draft: &'d Draft<'_>, ix: NodeIx, needs: &'d Needs, service: Option<&ServiceId>) -> Self {
        Self {
            needs,
            book: draft.book(ix).clone(),
            of_service: draft.active_of(service, ix),
            volumes: Cow::Borrowed(&draft.volumes),
        }
    }

    /// A task leaves, which has been there. It is of another service than the one that looks for room, or counts no more.
    pub(crate) fn leave(&mut self, task: &Task) {
        self.book.remove(task);
        if !self.needs.volumes.is_empty() {
            self.volumes.to_mut().remove(task);
        }
    }

    /// A task comes.
    pub(crate) fn come(&mut self, task: &Task, service: Option<&ServiceId>) {
        let given = wanted(task).map(|wanted| self.book.choose(wanted)).unwrap_or_default();
        self.book.add(task, &given);
        self.of_service += u32::from(is_active(task) && task.service_id.as_ref() == service);
    }

    pub(crate) fn fits(&self) -> bool {
        self.needs.refusal(&self.book, self.of_service, &self.volumes).is_none()
    }
}

impl Trial for Site<'_> {
    fn leave(&mut self, tenant: &Tenant) {
        Site::leave(self, &tenant.task);
    }

    fn come_back(&mut self, tenant: &Tenant) {
        self.book.add(&tenant.task, &tenant.task.assigned_generic_resources);
        if !self.needs.volumes.is_empty() {
            self.volumes.to_mut().add(&tenant.task);
        }
    }

    fn fits(&self) -> bool {
        Site::fits(self)
    }
}
