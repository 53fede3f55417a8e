//! A plugin that does as it is told, and notes what it was asked.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;
use swarmkit_api::wire::csi::v1::{
    ControllerPublishVolumeRequest, ControllerUnpublishVolumeRequest, CreateVolumeRequest, DeleteVolumeRequest, Volume,
};
use swarmkit_csi::{PluginError, VolumePlugin, VolumePlugins};
use tokio::time::Instant;

/// How a played plugin takes the next calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Mood {
    #[default]
    Willing,
    /// It says no.
    Refuses,
    /// It says that it cannot for now.
    Fails,
    /// It never answers.
    Hangs,
    /// It refuses what is about this node, and does the rest.
    Avoids(&'static str),
}

/// A played plugin. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Played(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    mood: Mood,
    asked: Vec<String>,
    times: Vec<Instant>,
    created: Vec<CreateVolumeRequest>,
    published: Vec<ControllerPublishVolumeRequest>,
    unpublished: Vec<ControllerUnpublishVolumeRequest>,
    deleted: Vec<DeleteVolumeRequest>,
}

impl Played {
    pub(crate) fn feel(&self, mood: Mood) {
        self.0.lock().mood = mood;
    }

    /// What it was asked since it was last looked at, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().asked)
    }

    /// When it was asked, from the beginning.
    pub(crate) fn times(&self) -> Vec<Instant> {
        self.0.lock().times.clone()
    }

    pub(crate) fn created(&self) -> CreateVolumeRequest {
        self.0.lock().created.last().cloned().expect("it was asked to create")
    }

    pub(crate) fn published(&self) -> ControllerPublishVolumeRequest {
        self.0.lock().published.last().cloned().expect("it was asked to publish")
    }

    pub(crate) fn unpublished(&self) -> ControllerUnpublishVolumeRequest {
        self.0.lock().unpublished.last().cloned().expect("it was asked to unpublish")
    }

    pub(crate) fn deleted(&self) -> DeleteVolumeRequest {
        self.0.lock().deleted.last().cloned().expect("it was asked to delete")
    }

    async fn answer(&self, asked: String) -> Result<(), PluginError> {
        let mood = {
            let mut inner = self.0.lock();
            inner.asked.push(asked.clone());
            inner.times.push(Instant::now());
            inner.mood.clone()
        };
        match mood {
            Mood::Willing => Ok(()),
            Mood::Refuses => Err(PluginError::Refused("no".to_owned())),
            Mood::Fails => Err(PluginError::Failed("not now".to_owned())),
            Mood::Avoids(node) if asked.ends_with(node) => Err(PluginError::Failed("not there".to_owned())),
            Mood::Avoids(_) => Ok(()),
            Mood::Hangs => std::future::pending().await,
        }
    }
}

impl VolumePlugin for Played {
    fn create(&self, request: CreateVolumeRequest) -> BoxFuture<'_, Result<Volume, PluginError>> {
        async move {
            let name = request.name.clone();
            self.0.lock().created.push(request);
            self.answer(format!("create {name}")).await?;
            let volume_context = [("from".to_owned(), "creation".to_owned())].into();
            Ok(Volume { volume_id: format!("csi-{name}"), capacity_bytes: 7, volume_context, ..Default::default() })
        }
        .boxed()
    }

    fn delete(&self, request: DeleteVolumeRequest) -> BoxFuture<'_, Result<(), PluginError>> {
        let asked = format!("delete {}", request.volume_id);
        self.0.lock().deleted.push(request);
        self.answer(asked).boxed()
    }

    fn publish(
        &self,
        request: ControllerPublishVolumeRequest,
    ) -> BoxFuture<'_, Result<BTreeMap<String, String>, PluginError>> {
        async move {
            let asked = format!("publish {} on {}", request.volume_id, request.node_id);
            self.0.lock().published.push(request.clone());
            self.answer(asked).await?;
            Ok([("path".to_owned(), format!("/dev/{}", request.node_id))].into())
        }
        .boxed()
    }

    fn unpublish(&self, request: ControllerUnpublishVolumeRequest) -> BoxFuture<'_, Result<(), PluginError>> {
        let asked = format!("unpublish {} on {}", request.volume_id, request.node_id);
        self.0.lock().unpublished.push(request);
        self.answer(asked).boxed()
    }
}

/// Plugins by name.
#[derive(Clone, Default)]
pub(crate) struct Shelf(Arc<Mutex<BTreeMap<String, Played>>>);

impl Shelf {
    pub(crate) fn add(&self, name: &str) -> Played {
        let plugin = Played::default();
        self.0.lock().insert(name.to_owned(), plugin.clone());
        plugin
    }
}

impl VolumePlugins for Shelf {
    fn find(&self, driver: &str) -> Option<Arc<dyn VolumePlugin>> {
        self.0.lock().get(driver).map(|plugin| Arc::new(plugin.clone()) as Arc<dyn VolumePlugin>)
    }
}
