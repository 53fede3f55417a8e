//! What the tests are written with.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use bollard::{
    API_DEFAULT_VERSION, Docker, body_full,
    query_parameters::{CreateImageOptionsBuilder, ListContainersOptionsBuilder},
};
use futures_util::TryStreamExt as _;
use swarmkit_executor_docker::{DEFAULT_SOCKET, DockerExecutor, PullPolicy};
use tokio::sync::OnceCell;

/// An image with a shell. Its registry is this machine, where none listens, so that nothing leads out.
pub(crate) const IMAGE: &str = "localhost/swarmkit-test:1";

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An engine with the image.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) docker: Docker,
    pub(crate) socket: PathBuf,
}

static GROUND: OnceCell<Result<Ground, String>> = OnceCell::const_new();

impl Ground {
    /// The engine to test with. `None` if there is none, and then that was said.
    pub(crate) async fn find() -> Option<Self> {
        let reason = match GROUND.get_or_init(Self::make).await {
            // A client belongs to the runtime of the test that uses it.
            Ok(ground) => return Some(Self { docker: client(&ground.socket).ok()?, ..ground.clone() }),
            Err(reason) => reason,
        };
        if std::env::var("SWARMKIT_REQUIRE_DOCKER").is_ok_and(|required| required == "1") {
            panic!("SWARMKIT_REQUIRE_DOCKER is set, and there is no engine to test with: {reason}");
        }
        // Past the capture of tests that pass.
        let _ = writeln!(std::io::stderr(), "skipped, since there is no engine to test with: {reason}");
        None
    }

    async fn make() -> Result<Self, String> {
        let socket = std::env::var_os("SWARMKIT_DOCKER_SOCKET").map_or(PathBuf::from(DEFAULT_SOCKET), PathBuf::from);
        let docker = client(&socket)?;
        let docker = docker.negotiate_version().await.map_err(|error| format!("{}: {error}", socket.display()))?;
        if docker.inspect_image(IMAGE).await.is_ok() {
            return Ok(Self { docker, socket });
        }
        let options = CreateImageOptionsBuilder::new().from_src("-").repo("localhost/swarmkit-test").tag("1").build();
        let imported = docker.create_image(Some(options), Some(body_full(root_fs()?.into())), None);
        imported.try_collect::<Vec<_>>().await.map_err(|error| format!("importing an image: {error}"))?;
        Ok(Self { docker, socket })
    }

    /// An executor on a state directory.
    pub(crate) async fn open(&self, dir: &Path) -> DockerExecutor {
        let builder = DockerExecutor::builder(dir).socket(&self.socket).pull(PullPolicy::Never);
        builder.open().await.expect("the engine is there")
    }

    /// The names of the containers of the executor on a state directory.
    pub(crate) async fn containers_of(&self, dir: &Path) -> Vec<String> {
        let owner = fs::read_to_string(dir.join("owner")).unwrap();
        let filters = std::iter::once(("label", vec![format!("swarmkit.executor={}", owner.trim())])).collect();
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let found = self.docker.list_containers(Some(options)).await.unwrap();
        found.into_iter().flat_map(|container| container.names.unwrap_or_default()).collect()
    }
}

fn client(socket: &Path) -> Result<Docker, String> {
    let path = socket.to_string_lossy();
    Docker::connect_with_unix(&path, PATIENCE.as_secs(), API_DEFAULT_VERSION).map_err(|error| error.to_string())
}

/// The files of a small system, in a tar archive.
fn root_fs() -> Result<Vec<u8>, String> {
    const TOOLS: [&str; 12] =
        ["sh", "sleep", "cat", "echo", "id", "env", "kill", "ls", "mount", "stat", "grep", "hostname"];
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.ok_or("there is no busybox (Debian has it in busybox-static)")?;
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let bin = dir.path().join("bin");
    let made = fs::create_dir(&bin)
        .and_then(|()| fs::create_dir(dir.path().join("etc")))
        .and_then(|()| fs::copy(busybox, bin.join("busybox")))
        .and_then(|_| fs::write(dir.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\n"))
        .and_then(|()| fs::write(dir.path().join("etc/group"), "root:x:0:\n"))
        .and_then(|()| TOOLS.iter().try_for_each(|tool| std::os::unix::fs::symlink("busybox", bin.join(tool))));
    made.map_err(|error| error.to_string())?;
    let tar = Command::new("tar").args(["-c", "--owner=0", "--group=0", "-C"]).arg(dir.path()).arg(".").output();
    let tar = tar.map_err(|error| format!("tar: {error}"))?;
    if tar.status.success() { Ok(tar.stdout) } else { Err("tar failed".to_owned()) }
}
