//! Plugins on sockets, as the manager reaches them.

use std::path::PathBuf;

use swarmkit_api::wire::csi::v1::{
    ControllerPublishVolumeRequest, ControllerUnpublishVolumeRequest, CreateVolumeRequest, DeleteVolumeRequest,
    controller_service_capability::rpc,
};
use swarmkit_csi::{CsiPlugins, PluginError, VolumePlugin, VolumePlugins as _, conformance};
use swarmkit_runtime::Crew;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::server::{Able, Server};

/// Plays a story with the place of a socket, in a crew, as the manager's parts are.
pub(crate) async fn told<F: Future<Output = ()> + Send + 'static>(story: impl FnOnce(PathBuf) -> F) {
    let folder = tempfile::tempdir().expect("a folder");
    let crew = Crew::under(&CancellationToken::new());
    let played = crew.spawner().spawn("story", story(folder.path().join("plugin.sock"))).await;
    crew.stop().cancel();
    crew.join().await;
    played.expect("the story ends well").expect("the crew is not abandoned");
}

fn plugin(path: PathBuf) -> std::sync::Arc<dyn VolumePlugin> {
    let plugins = CsiPlugins::new([("disk".to_owned(), path)]);
    assert!(plugins.find("other").is_none());
    plugins.find("disk").expect("it is known by its name")
}

fn creation() -> CreateVolumeRequest {
    CreateVolumeRequest { name: "v".to_owned(), ..Default::default() }
}

fn publication() -> ControllerPublishVolumeRequest {
    ControllerPublishVolumeRequest { node_id: "a-1".to_owned(), ..Default::default() }
}

const GREETING: [&str; 3] = ["Probe", "GetPluginCapabilities", "ControllerGetCapabilities"];

#[tokio::test]
async fn it_is_asked_what_it_can_once_and_then_for_what_is_needed() {
    told(async |path| {
        let (server, plugin) = (Server::start(&path, Able::default()), plugin(path));
        assert!(server.asked().is_empty(), "nobody connects before there is something to ask");
        // The very first call after a leader's start: what it can do is known before it is decided whether to ask.
        assert_eq!(plugin.publish(publication()).await.unwrap()["on"], "a-1");
        assert_eq!(server.asked(), [&GREETING[..], &["ControllerPublishVolume"]].concat());
        assert_eq!(plugin.create(creation()).await.unwrap().volume_id, "made-v");
        plugin.unpublish(ControllerUnpublishVolumeRequest::default()).await.unwrap();
        plugin.delete(DeleteVolumeRequest::default()).await.unwrap();
        assert_eq!(server.asked(), ["CreateVolume", "ControllerUnpublishVolume", "DeleteVolume"]);
    })
    .await;
}

#[tokio::test]
async fn one_without_a_controller_has_its_volumes_already() {
    told(async |path| {
        let able = Able { controller: false, ..Able::default() };
        let (server, plugin) = (Server::start(&path, able), plugin(path));
        assert_eq!(plugin.create(creation()).await.unwrap().volume_id, "v", "they go by their names");
        assert!(plugin.publish(publication()).await.unwrap().is_empty());
        plugin.unpublish(ControllerUnpublishVolumeRequest::default()).await.unwrap();
        plugin.delete(DeleteVolumeRequest::default()).await.unwrap();
        assert_eq!(server.asked(), GREETING[..2], "nothing is asked of a controller that there is not");
    })
    .await;
}

#[tokio::test]
async fn one_that_does_not_attach_is_not_asked_to() {
    told(async |path| {
        let able = Able { calls: vec![rpc::Type::CreateDeleteVolume], ..Able::default() };
        let (server, plugin) = (Server::start(&path, able), plugin(path));
        assert!(plugin.publish(publication()).await.unwrap().is_empty());
        plugin.unpublish(ControllerUnpublishVolumeRequest::default()).await.unwrap();
        plugin.delete(DeleteVolumeRequest::default()).await.unwrap();
        assert_eq!(server.asked(), [&GREETING[..], &["DeleteVolume"]].concat());
    })
    .await;
}

#[tokio::test]
async fn what_it_refuses_was_not_done_and_of_the_rest_nobody_knows() {
    told(async |path| {
        let (server, plugin) = (Server::start(&path, Able::default()), plugin(path));
        server.able(|able| able.refuses = Some(Status::invalid_argument("no such tier")));
        let error = plugin.create(creation()).await.unwrap_err();
        assert_eq!(error, PluginError::Refused("rpc error: code = InvalidArgument desc = no such tier".to_owned()));
        server.able(|able| able.refuses = Some(Status::internal("the disk is on fire")));
        let error = plugin.create(creation()).await.unwrap_err();
        assert_eq!(error, PluginError::Failed("rpc error: code = Internal desc = the disk is on fire".to_owned()));
        server.able(|able| able.refuses = Some(Status::aborted("somebody else is at it")));
        assert!(!plugin.create(creation()).await.unwrap_err().is_refusal());
    })
    .await;
}

#[tokio::test]
async fn one_that_is_not_there_or_not_ready_is_asked_again_later() {
    told(async |path| {
        let plugin = plugin(path.clone());
        let error = plugin.create(creation()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("storage plugin disk: cannot reach {}: no such file", path.display()));
        assert!(!error.is_refusal());
        let server = Server::start(&path, Able { ready: Some(false), ..Able::default() });
        let error = plugin.create(creation()).await.unwrap_err();
        assert_eq!(error.to_string(), "storage plugin disk: it is not ready yet");
        assert_eq!(server.asked(), ["Probe"]);
        server.able(|able| able.ready = None);
        assert_eq!(plugin.create(creation()).await.unwrap().volume_id, "made-v", "not to say so is to be ready");
    })
    .await;
}

#[tokio::test]
async fn one_that_went_and_came_back_is_asked_anew_what_it_can() {
    told(async |path| {
        let (server, plugin) = (Server::start(&path, Able::default()), plugin(path.clone()));
        plugin.create(creation()).await.unwrap();
        drop(server);
        let server = Server::start(&path, Able { controller: false, ..Able::default() });
        // The first call may still go to the connection that is breaking.
        let mut made = plugin.create(creation()).await;
        while let Err(error) = made {
            assert!(!error.is_refusal(), "{error}");
            made = plugin.create(creation()).await;
        }
        assert_eq!(made.unwrap().volume_id, "v", "it is another one now");
        assert_eq!(server.asked(), GREETING[..2]);
    })
    .await;
}

#[tokio::test]
async fn plugins_of_all_abilities_keep_what_the_seam_obliges_to() {
    for (controller, calls) in [(true, Able::default().calls), (true, Vec::new()), (false, Vec::new())] {
        told(async move |path| {
            let (_server, plugin) = (Server::start(&path, Able { controller, calls, ..Able::default() }), plugin(path));
            conformance::all(plugin.as_ref(), &creation(), "a-1").await;
        })
        .await;
    }
}
