//! The control socket.

use std::{io, os::unix::fs::PermissionsExt as _, path::PathBuf};

use swarmkit_api::NodeRole;
use swarmkit_rpc::{Authority, ControlSocket, ServerOptions, connect_unix, serve};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

use crate::world::{Desk, World, check, identity, unlock_key};

struct Socket {
    _directory: TempDir,
    path: PathBuf,
}

fn socket() -> Socket {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run").join("swarmd.sock");
    Socket { _directory: directory, path }
}

async fn served(world: &World, socket: &Socket) -> Desk {
    let credentials = world.node("m1", NodeRole::Manager);
    let desk = Desk::new(&world.root);
    let services = desk.services(Authority::of(&credentials), None);
    let listener = ControlSocket::bind(&socket.path, Some(credentials)).await.unwrap();
    let serving = serve(Box::new(listener), services, ServerOptions::default(), world.spawner());
    drop(world.spawner().spawn("server", serving));
    desk
}

#[tokio::test]
async fn whoever_may_open_it_is_this_node() {
    let (world, socket) = (World::new(), socket());
    let desk = served(&world, &socket).await;
    let channel = connect_unix(&socket.path, &world.env, &world.spawner()).await.unwrap();
    unlock_key(&channel).await.unwrap();
    let caller = desk.caller();
    assert_eq!(caller.identity, Some(identity("m1", NodeRole::Manager)));
    assert!(caller.local && caller.addr.is_none());
}

#[tokio::test]
async fn only_its_owner_may_open_it() {
    let (world, socket) = (World::new(), socket());
    served(&world, &socket).await;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&socket.path), 0o600);
    assert_eq!(mode(socket.path.parent().unwrap()), 0o700);
}

#[tokio::test]
async fn clients_without_tls_are_served_too() {
    let (world, socket) = (World::new(), socket());
    served(&world, &socket).await;
    let mut stream = UnixStream::connect(&socket.path).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "the server answers with its settings");
}

#[tokio::test]
async fn a_file_that_a_dead_server_left_is_replaced_and_a_live_one_is_not() {
    let (world, socket) = (World::new(), socket());
    std::fs::create_dir(socket.path.parent().unwrap()).unwrap();
    drop(UnixListener::bind(&socket.path).unwrap());
    assert!(socket.path.exists());
    served(&world, &socket).await;
    let again = ControlSocket::bind(&socket.path, None).await;
    assert_eq!(again.err().map(|error| error.kind()), Some(io::ErrorKind::AddrInUse));
    let channel = connect_unix(&socket.path, &world.env, &world.spawner()).await.unwrap();
    check(&channel, "").await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let socket = socket();
    std::fs::create_dir(socket.path.parent().unwrap()).unwrap();
    std::fs::write(&socket.path, "precious").unwrap();
    assert!(ControlSocket::bind(&socket.path, None).await.is_err());
    assert_eq!(std::fs::read_to_string(&socket.path).unwrap(), "precious");
}

#[tokio::test]
async fn the_file_goes_with_its_server() {
    let socket = socket();
    drop(ControlSocket::bind(&socket.path, None).await.unwrap());
    assert!(!socket.path.exists());
}

#[tokio::test]
async fn nobody_there_is_said_in_one_line() {
    let (world, socket) = (World::new(), socket());
    let error = connect_unix(&socket.path, &world.env, &world.spawner()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot reach {}: no such file", socket.path.display()));
}
