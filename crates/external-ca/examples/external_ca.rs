//! A certificate authority outside of a cluster, for trying that out.
//!
//! In the present folder it makes a root (`ca/root.crt`, whose key stays in memory), and a certificate of the first manager of
//! a new cluster (`certificates/`), then signs what the managers of that cluster ask for until it is told to stop:
//!
//! ```text
//! mkdir /tmp/outside && cd /tmp/outside
//! cargo run --manifest-path …/crates/external-ca/Cargo.toml --example external_ca
//! ```
//!
//! It prints the command that founds the cluster. A run in the same folder later begins with another root, so the cluster of
//! the first one gets no certificates any more: this is for trying things out.

use std::{error::Error, fs, io::Write as _, net::SocketAddr, path::Path, process::ExitCode};

use swarmkit_api::{ClusterId, NodeId, NodeRole};
use swarmkit_ca::{Identity, KeySource as _, KeyStore, LEAF_VALIDITY_DEFAULT, NodeCertificate, RootCa, SystemKeys};
use swarmkit_external_ca::server::CfsslServer;
use swarmkit_runtime::{Crew, Env};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Where the root is for whoever wants to look at it.
const ROOT: &str = "ca/root.crt";

/// Listens on this machine only, on any port.
const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(serve(Path::new(".")))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody left to tell when this fails.
            let _ = writeln!(std::io::stderr(), "external_ca: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(folder: &Path) -> Result<(), Box<dyn Error>> {
    let env = Env::real();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let root = prepare(folder, &env)?;
    let server = CfsslServer::bind(SocketAddr::from(ANY_PORT), root.clone(), &root, true, &env).await?;
    let url = server.handle().url().to_owned();
    let mut crew = Crew::under(&CancellationToken::new());
    crew.spawn("authority", |stop| server.run(stop));
    let mut out = std::io::stdout();
    writeln!(
        out,
        "To begin a cluster whose certificates this authority signs, run\n\n    swarmd -d . --listen-control-api \
         ./swarmd.sock --external-ca protocol=cfssl,url={url}\n"
    )?;
    out.flush()?;
    tokio::select! { biased; // which of two signals came first does not matter
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    crew.stop().cancel();
    crew.finish().await.map_err(|error| error as Box<dyn Error>)
}

/// Makes the root, and what the first manager needs.
fn prepare(folder: &Path, env: &Env) -> Result<RootCa, Box<dyn Error>> {
    let root = RootCa::create(&SystemKeys, env)?;
    let path = folder.join(ROOT);
    fs::create_dir_all(path.parent().unwrap_or(folder))?;
    fs::write(path, root.bundle())?;
    let (node, cluster) = (NodeId::new(env.new_id()), ClusterId::new(env.new_id()));
    let key = SystemKeys.generate()?;
    let chain =
        root.issue(&key.request()?, &Identity::new(node, NodeRole::Manager, cluster), LEAF_VALIDITY_DEFAULT, env)?;
    let keys = KeyStore::new(folder, env);
    keys.save_root(&root)?;
    keys.save_node(&NodeCertificate::new(&chain, key)?)?;
    Ok(root)
}
