//! A node as it would be.

use std::borrow::Cow;

use swarmkit_api::{ServiceId, Task};

use crate::{
    books::{NodeBook, NodeIx, is_active, wanted},
    draft::Draft,
    needs::Needs,
    volumes::Volumes,
};

/// What would be booked on one node if some had left it, and others had come, in the eyes of a task that looks for room.
#[derive(Clone)]
pub(crate) struct Site<'d> {
    book: NodeBook,
    /// Active tasks of the service of that task.
    of_service: u32,
    /// Only looked at, and kept up, if it mounts any.
    volumes: Cow<'d, Volumes>,
    mounts: bool,
}

impl<'d> Site<'d> {
    /// The node as it is in a plan.
    pub(crate) fn of(draft: &'d Draft<'_>, ix: NodeIx, needs: &Needs, service: Option<&ServiceId>) -> Self {
        Self {
            book: draft.book(ix).clone(),
            of_service: draft.active_of(service, ix),
            volumes: Cow::Borrowed(&draft.volumes),
            mounts: !needs.volumes.is_empty(),
        }
    }

    /// A task leaves, which has been there. It is of another service than the one that looks for room, or counts no more.
    pub(crate) fn leave(&mut self, task: &Task) {
        self.book.remove(task);
        if self.mounts {
            self.volumes.to_mut().remove(task);
        }
    }

    /// A task comes.
    pub(crate) fn come(&mut self, task: &Task, service: Option<&ServiceId>) {
        let given = wanted(task).map(|wanted| self.book.choose(wanted)).unwrap_or_default();
        self.book.add(task, &given);
        self.of_service += u32::from(is_active(task) && task.service_id.as_ref() == service);
    }

    pub(crate) fn fits(&self, needs: &Needs) -> bool {
        needs.refusal(&self.book, self.of_service, &self.volumes).is_none()
    }
}
