//! What tasks are given: attachments to their networks, and a copy of the endpoint of their service.

use std::{collections::BTreeSet, sync::Arc};

use swarmkit_api::{
    NetworkId, Service, ServiceId, Task, TaskState,
    wire::{Endpoint, NetworkAttachment, NetworkAttachmentConfig},
};

use super::{Draft, services::asked};
use crate::{
    NetworkEnd,
    addresses::{Holder, of_attachments},
    decision::Decision,
    plan::ends::{End, attachment},
    waits::{Cause, TaskKey, Wait, Waiter},
    world::publishes,
};

impl Draft<'_> {
    pub(super) fn consider_task(&mut self, key: &TaskKey) {
        let Some(task) = self.world.tasks.get(key).cloned() else { return };
        let waiter = Waiter::Task(key.clone());
        // Asked to stop before it was given anything. It needs nothing; the scheduler ends it.
        if task.desired_state > TaskState::Complete {
            self.note(waiter, None);
            let (endpoint, networks) = (task.endpoint.clone(), Vec::new());
            return self.decisions.push(Decision::Admit { task, endpoint, networks });
        }
        let service = match &task.service_id {
            None => None,
            Some(id) => match self.world.services.get(id).cloned() {
                Some(service) => Some(service),
                // It goes with its service; until then nobody asks why it waits.
                None => return self.world.waits.note(waiter, Cause::Service(id.clone()), String::new()),
            },
        };
        match self.admit(&task, service.as_deref()) {
            Ok((endpoint, networks)) => {
                self.note(waiter, None);
                self.decisions.push(Decision::Admit { task, endpoint, networks });
            }
            Err(wait) => {
                let (why, _) = self.note(waiter, Some(wait));
                let why = why.unwrap_or_default();
                if task.status.err != why {
                    self.decisions.push(Decision::Explain { task, why });
                }
            }
        }
    }

    fn admit(
        &mut self,
        task: &Task,
        service: Option<&Service>,
    ) -> Result<(Option<Arc<Endpoint>>, Vec<NetworkAttachment>), Wait> {
        let endpoint = match service {
            None => task.endpoint.clone(),
            Some(service) => self.settled_endpoint(service)?.or_else(|| task.endpoint.clone()),
        };
        Ok((endpoint, self.attach(task, service)?))
    }

    /// What a service has been given, or is being given by this plan.
    fn settled_endpoint(&self, service: &Service) -> Result<Option<Arc<Endpoint>>, Wait> {
        let id: &ServiceId = &service.id;
        if let Some(why) = self.world.waits.why(&Waiter::Service(id.clone())) {
            return Err(Wait::Service { service: id.clone(), why: why.to_owned() });
        }
        Ok(self.endpoints.get(id).unwrap_or(&service.endpoint).clone())
    }

    /// All attachments of a task, or none.
    fn attach(&mut self, task: &Task, service: Option<&Service>) -> Result<Vec<NetworkAttachment>, Wait> {
        let ingress = self.world.ingress().filter(|_| service.is_some_and(publishes));
        let ingress = ingress.map(|it| NetworkAttachmentConfig { target: it.id.to_string(), ..Default::default() });
        let of_task = &task.spec.networks[..];
        let asked = service.map_or(of_task, |service| asked(service, Some(of_task)));
        let (mut attachments, mut seen) = (Vec::new(), BTreeSet::new());
        let ingress = ingress.iter().filter(|ingress| asked.iter().all(|asked| asked.target != ingress.target));
        // One end on each network, however often it is named.
        for asked in ingress.chain(asked).filter(|asked| seen.insert(asked.target.as_str())) {
            match self.task_end(task, asked) {
                Ok(attachment) => attachments.extend(attachment),
                Err(wait) => {
                    let holder = Holder::Task(task.id.clone());
                    let given = of_attachments(&attachments);
                    self.world.give_back(&holder, given, std::iter::empty(), self.provider);
                    return Err(wait);
                }
            }
        }
        Ok(attachments)
    }

    fn task_end(&mut self, task: &Task, asked: &NetworkAttachmentConfig) -> Result<Option<NetworkAttachment>, Wait> {
        let network = self.ready(&NetworkId::from(asked.target.as_str()))?;
        let end = End { holder: Holder::Task(task.id.clone()), kind: NetworkEnd::Task, asked: Some(asked) };
        Ok(self.addresses(&network, &end)?.map(|addresses| attachment(&network, addresses, Some(asked))))
    }
}
