//! A registry that the engine can reach, and that does as a test says.
//!
//! It runs in a container on the engine's own network, since the engine may be in another one than the tests. What it
//! answers are files of this machine, whole answers with their heads, which a test puts there and takes away.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use bollard::{
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptions},
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::world::{Ground, IMAGE};

/// One repository with one image of one layer.
pub(crate) struct Registry {
    ground: Ground,
    dir: TempDir,
    container: String,
    port: u32,
    manifest: String,
    layer: String,
}

/// Answers one request: the file named after its path, once no file of that name and `.hold` is there any more. Who does
/// not speak HTTP is told so, which makes an engine try it without TLS.
const HANDLER: &str = r#"#!/bin/busybox sh
cd /answers
first=$(busybox dd bs=1 count=1 2>/dev/null)
case "$first" in G|H) ;; *) printf 'HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\n'; exit;; esac
read -r method path rest
auth=
while read -r name value; do
    case "$name" in Authorization:) auth=$value;; esac
    [ "${name%?}" ] || break
done
file=$(echo "$path" | busybox tr '/:' '__')
echo "$path ${auth%?}" >>log
if [ -e challenge ] && [ -z "$auth" ]; then cat challenge; exit; fi
[ -e "$file" ] || file=missing
cat "$file"
if [ -e "$file.rest" ]; then
    while [ -e hold ]; do busybox sleep 0.05; done
    cat "$file.rest"
fi
"#;

/// The port of the next one. Those of other test runs on the same machine are at other ports most likely.
static PORT: AtomicU32 = AtomicU32::new(0);

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn answer(kind: &str, digest: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         Docker-Content-Digest: sha256:{digest}\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

impl Registry {
    /// Starts one with the image `a/b:1`, a file system with a shell of its own.
    pub(crate) async fn start(ground: &Ground) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let port = 20_000 + std::process::id() % 10_000 + PORT.fetch_add(1, Ordering::Relaxed) * 10_000;
        let script = dir.path().join("handler");
        fs::write(&script, HANDLER).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let mut registry = Self {
            ground: ground.clone(),
            container: String::new(),
            port,
            manifest: String::new(),
            layer: String::new(),
            dir,
        };
        registry.put_image();
        registry.open();
        let command = ["/bin/busybox", "nc", "-ll", "-p", &port.to_string(), "-e", "/answers/handler"];
        let host = HostConfig {
            binds: Some(vec![format!("{}:/answers", registry.dir.path().display())]),
            network_mode: Some("host".into()),
            ..Default::default()
        };
        let body = ContainerCreateBody {
            image: Some(IMAGE.into()),
            entrypoint: Some(command.map(str::to_owned).to_vec()),
            host_config: Some(host),
            ..Default::default()
        };
        let name = format!("registry-{port}");
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        registry.container = ground.docker.create_container(Some(options), body).await.unwrap().id;
        ground.docker.start_container(&registry.container, None).await.unwrap();
        registry
    }

    /// The name of its image.
    pub(crate) fn image(&self) -> String {
        format!("127.0.0.1:{}/a/b:1", self.port)
    }

    /// An image that it does not have.
    pub(crate) fn missing(&self) -> String {
        format!("127.0.0.1:{}/a/b:2", self.port)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put_image(&mut self) {
        let layer = layer(self.dir.path());
        let layer_digest = hex(&Sha256::digest(&layer));
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/bin/sh"] },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
            "history": [{ "created": "2020-01-01T00:00:00Z" }],
        });
        let config = config.to_string();
        let config_digest = hex(&Sha256::digest(config.as_bytes()));
        let part = |kind: &str, size: usize, digest: &str| serde_json::json!({ "mediaType": kind, "size": size, "digest": format!("sha256:{digest}") });
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": part("application/vnd.docker.container.image.v1+json", config.len(), &config_digest),
            "layers": [part("application/vnd.docker.image.rootfs.diff.tar", layer.len(), &layer_digest)],
        });
        let manifest = manifest.to_string();
        let digest = hex(&Sha256::digest(manifest.as_bytes()));
        let put = |name: String, kind: &str, digest: &str, body: &[u8]| {
            fs::write(self.dir.path().join(name), answer(kind, digest, body)).unwrap();
        };
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        put("_v2_a_b_manifests_1".to_owned(), kind, &digest, manifest.as_bytes());
        put(format!("_v2_a_b_manifests_sha256_{digest}"), kind, &digest, manifest.as_bytes());
        let kind = "application/octet-stream";
        put(format!("_v2_a_b_blobs_sha256_{config_digest}"), kind, &config_digest, config.as_bytes());
        put(format!("_v2_a_b_blobs_sha256_{layer_digest}"), kind, &layer_digest, &layer);
        put("_v2_".to_owned(), "application/json", "", b"{}");
        let text = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        let head =
            format!("HTTP/1.0 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: {}", text.len());
        fs::write(self.path("missing"), format!("{head}\r\n\r\n{text}")).unwrap();
        self.manifest = digest;
        self.layer = layer_digest;
    }

    /// It answers as it should.
    pub(crate) fn open(&self) {
        for name in ["challenge", "hold"] {
            fs::remove_file(self.path(name)).ok();
        }
    }

    /// It answers everything with that it cannot at the moment.
    pub(crate) fn fall_ill(&self) {
        fs::write(self.path("challenge"), "HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").unwrap();
    }

    /// It wants to know who asks.
    pub(crate) fn ask_who(&self) {
        let text = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        let head = "HTTP/1.0 401 Unauthorized\r\nWww-Authenticate: Basic realm=\"r\"\r\nContent-Type: application/json";
        fs::write(self.path("challenge"), format!("{head}\r\nContent-Length: {}\r\n\r\n{text}", text.len())).unwrap();
    }

    /// It stops in the middle of the layer until it is opened.
    pub(crate) fn hold(&self) {
        fs::write(self.path("hold"), "").unwrap();
        let path = self.path(&format!("_v2_a_b_blobs_sha256_{}", self.layer));
        let whole = fs::read(&path).unwrap();
        let (half, rest) = whole.split_at(whole.len() / 2);
        fs::write(path.with_extension("rest"), rest).unwrap();
        fs::write(&path, half).unwrap();
    }

    /// The paths that it was asked for, each with what the asker said of himself.
    pub(crate) fn asked(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The image, by what it is rather than by its name.
    pub(crate) fn pinned(&self) -> String {
        format!("127.0.0.1:{}/a/b@sha256:{}", self.port, self.manifest)
    }

    /// Takes it away, and what was fetched from it.
    pub(crate) async fn end(self) {
        let options = RemoveContainerOptionsBuilder::new().force(true).build();
        self.ground.docker.remove_container(&self.container, Some(options)).await.unwrap();
        for image in [self.image(), self.pinned()] {
            self.ground.docker.remove_image(&image, None::<RemoveImageOptions>, None).await.ok();
        }
    }
}

/// A layer with nothing but a shell, and different for each registry so that no engine has it already.
fn layer(dir: &Path) -> Vec<u8> {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("bin")).unwrap();
    fs::copy("/bin/busybox", root.path().join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", root.path().join("bin/sh")).unwrap();
    fs::write(root.path().join("unique"), dir.to_string_lossy().as_bytes()).unwrap();
    let tar = Command::new("tar").args(["-c", "--owner=0", "--group=0", "-C"]).arg(root.path()).arg(".").output();
    tar.unwrap().stdout
}
