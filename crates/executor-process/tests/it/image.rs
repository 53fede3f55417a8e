//! Tasks with a root file system of their own.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    sync::Arc,
};

use swarmkit_api::{Task, wire};
use swarmkit_executor::{Controller as _, FixedDependencies};

use crate::{
    isolated::{bind, is_possible, of_type, refusal},
    world::{World, task, within},
};

const BUSYBOX: &str = "/bin/busybox";
/// What of it the tests use.
const APPLETS: [&str; 17] = [
    "sh", "cat", "echo", "sleep", "ls", "id", "pwd", "env", "hostname", "touch", "test", "grep", "wc", "stat", "mkdir",
    "ln", "mknod",
];

/// Whether there is a static program to make images of. Says so where there is none.
pub(crate) fn busybox_is_there() -> bool {
    let there = fs::read(BUSYBOX).is_ok_and(|bytes| !bytes.windows(16).any(|window| window == b"/lib64/ld-linux-"));
    if !there {
        eprintln!("skipped: this machine has no static {BUSYBOX}");
    }
    there
}

/// Makes a small root file system.
pub(crate) fn busybox_root(root: &Path) {
    for dir in ["bin", "etc", "tmp"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
    fs::set_permissions(root.join("bin/busybox"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nweb:x:34:\nlogs:x:50:web\n").unwrap();
}

async fn world() -> Option<World> {
    if !is_possible().await || !busybox_is_there() {
        return None;
    }
    let world = World::new().await;
    busybox_root(&world.dir.path().join("images/box"));
    Some(world)
}

fn boxed(script: &str, change: impl FnOnce(&mut wire::ContainerSpec, &mut wire::TaskSpec)) -> Arc<Task> {
    task(script, |spec, task| {
        spec.image = "swarmkit.process/image/box".into();
        change(spec, task);
    })
}

#[tokio::test]
async fn a_task_sees_its_image_and_what_it_writes_goes_with_it() {
    let Some(world) = world().await else { return };
    let script = "ls /; echo new > /new; cat /new; echo > /dev/null; ls /dev; touch /proc/sys/kernel/x 2>&1; \
                  touch /sys/x 2>&1; ls /proc/acpi 2>&1 | wc -l; id; pwd";
    let output = world.output(boxed(script, |_, _| {})).await;
    let expected = "bin\ndev\netc\nproc\nsys\ntmp\nnew\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\n\
                    zero\n";
    assert!(output.starts_with(expected), "{output}");
    let rest: Vec<_> = output[expected.len()..].lines().collect();
    assert!(rest[0].starts_with("touch: /proc/sys/kernel/x: "), "{output}");
    assert_eq!(rest[1], "touch: /sys/x: Read-only file system", "{output}");
    assert_eq!(rest[4..], ["/"], "{output}");
    assert_eq!(rest[3], "uid=0(root) gid=0(root)");
    let again = world.output(boxed("ls /", |_, _| {})).await;
    assert!(!again.contains("new"), "{again}");
    assert!(!world.dir.path().join("images/box/new").exists(), "the image stays as it is");
}

#[tokio::test]
async fn names_of_users_are_those_of_the_image() {
    let Some(world) = world().await else { return };
    if !crate::world::is_root() {
        return;
    }
    let output = world.output(boxed("id; echo $HOME $USER", |spec, _| spec.user = "web".into())).await;
    assert_eq!(output, "uid=33(web) gid=34(web) groups=50(logs)\n/srv web\n");
    let error = refusal(&world, boxed("true", |spec, _| spec.user = "daemon".into())).await;
    assert_eq!(error, "no user \"daemon\" on this machine");
}

#[tokio::test]
async fn secrets_configs_hosts_and_names_are_where_containers_have_them() {
    let Some(world) = world().await else { return };
    let file = |name: &str| wire::FileTarget { name: name.into(), mode: 0o440, ..Default::default() };
    let script = "cat /run/secrets/password /etc/app/key /site; stat -c %a /run/secrets/password; hostname; \
                  cat /etc/hostname; grep db /etc/hosts; grep name /etc/resolv.conf; echo $SWARMKIT_SECRETS_DIR; \
                  touch /site 2>/dev/null; echo x 2>/dev/null > /run/secrets/password || echo sealed";
    let all = boxed(script, |spec, _| {
        let secret = |name: &str, target: &str| wire::SecretReference {
            secret_id: "s1".into(),
            secret_name: name.into(),
            target: Some(wire::secret_reference::Target::File(file(target))),
        };
        spec.secrets = vec![secret("password", "password"), secret("key", "/etc/app/key")];
        spec.configs = vec![wire::ConfigReference { config_id: "c1".into(), config_name: "site".into(), target: None }];
        spec.hostname = "box-1".into();
        spec.hosts = vec!["10.1.2.3 db".into()];
        spec.dns_config =
            Some(wire::container_spec::DnsConfig { nameservers: vec!["10.9.9.9".into()], ..Default::default() });
    });
    let dependencies = FixedDependencies::new().with_secret("s1", b"hush\n").with_config("c1", b"open\n");
    let run = world.prepared_with(all, dependencies).await;
    within(run.controller.start()).await.unwrap();
    run.wait().await.unwrap();
    let expected = "hush\nhush\nopen\n440\nbox-1\nbox-1\n10.1.2.3 db\nnameserver 10.9.9.9\n/run/secrets\nsealed\n";
    assert_eq!(run.output().await, expected);
    run.removed().await;
}

#[tokio::test]
async fn a_task_has_the_usual_capabilities_or_those_that_it_asks_for() {
    let Some(world) = world().await else { return };
    if !crate::world::is_root() {
        return;
    }
    let script = "grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status";
    let output = world.output(boxed(script, |_, _| {})).await;
    // chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot audit_write setfcap
    assert_eq!(output, "CapEff:\t00000000a00425fb\nCapBnd:\t00000000a00425fb\nNoNewPrivs:\t0\n");
    let fewer = boxed(script, |spec, _| {
        spec.capability_drop = vec!["ALL".into()];
        spec.capability_add = vec!["CAP_KILL".into()];
        spec.privileges = Some(wire::Privileges { no_new_privileges: true, ..Default::default() });
    });
    let output = world.output(fewer).await;
    assert!(output.contains("CapEff:\t0000000000000020\n") && output.contains("NoNewPrivs:\t1\n"), "{output}");
}

#[tokio::test]
async fn a_read_only_image_can_be_written_to_only_where_something_is_mounted() {
    let Some(world) = world().await else { return };
    let output = world
        .output(boxed("touch /x 2>/dev/null || echo sealed; touch /data/x && echo open", |spec, _| {
            spec.read_only = true;
            spec.mounts = vec![of_type(wire::mount::Type::Tmpfs, "", "/data")];
        }))
        .await;
    assert_eq!(output, "sealed\nopen\n");
}

#[tokio::test]
async fn a_link_in_an_image_leads_nowhere_but_into_the_image() {
    let Some(world) = world().await else { return };
    let (outside, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(source.path().join("file"), "text\n").unwrap();
    let image = world.dir.path().join("images/box");
    symlink(outside.path(), image.join("data")).unwrap();
    let output = world
        .output(boxed("cat /data/file; ls -a /data | wc -l", |spec, _| {
            spec.mounts = vec![bind(source.path(), "/data/in", false)]
        }))
        .await;
    assert_eq!(output, "3\n", "the link is followed inside, where it leads to a new directory");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

/// Writes a blob of a layout, and gives what refers to it.
fn blob(layout: &Path, media_type: &str, bytes: &[u8]) -> serde_json::Value {
    use sha2::Digest as _;
    let hex = sha2::Sha256::digest(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    fs::write(layout.join("blobs/sha256").join(&hex), bytes).unwrap();
    serde_json::json!({"mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len()})
}

#[tokio::test]
async fn an_image_layout_says_how_it_is_run_and_what_a_new_volume_holds() {
    let Some(world) = world().await else { return };
    let root = tempfile::tempdir().unwrap();
    busybox_root(root.path());
    fs::create_dir_all(root.path().join("srv/data")).unwrap();
    fs::write(root.path().join("srv/data/seed"), "seed\n").unwrap();
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    archive.follow_symlinks(false);
    archive.append_dir_all(".", root.path()).unwrap();
    let layer = archive.into_inner().unwrap().finish().unwrap();
    let layout = world.dir.path().join("images/team/web");
    let layer = blob(&layout, "application/vnd.oci.image.layer.v1.tar+gzip", &layer);
    let run = serde_json::json!({"config": {
        "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo default"], "Env": ["A=image", "B=image"],
        "WorkingDir": "/srv/work", "StopSignal": "SIGINT",
    }});
    let config = blob(&layout, "application/vnd.oci.image.config.v1+json", run.to_string().as_bytes());
    let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": [layer]});
    let manifest = blob(&layout, "application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    fs::write(layout.join("index.json"), serde_json::json!({"manifests": [manifest]}).to_string()).unwrap();
    fs::write(layout.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();

    let web = |args: &[&str], change: fn(&mut wire::ContainerSpec)| {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        task("", |spec, _| {
            (spec.image, spec.command, spec.args) = ("swarmkit.process/image/team/web".into(), Vec::new(), args);
            change(spec);
        })
    };
    assert_eq!(world.output(web(&[], |_| {})).await, "default\n");
    let output =
        world.output(web(&["pwd; echo $A $B; cat /srv/data/seed"], |spec| spec.env = vec!["B=task".into()])).await;
    assert_eq!(output, "/srv/work\nimage task\nseed\n");
    let on_volume: fn(&mut wire::ContainerSpec) =
        |spec| spec.mounts = vec![of_type(wire::mount::Type::Volume, "data", "/srv/data")];
    assert_eq!(world.output(web(&["cat /srv/data/seed; echo more > /srv/data/seed"], on_volume)).await, "seed\n");
    assert_eq!(world.output(web(&["cat /srv/data/seed"], on_volume)).await, "more\n", "filled once");
    let run = world.started(web(&["trap 'exit 7' INT; echo ready; while :; do sleep 0.01; done"], |_| {})).await;
    run.says("ready").await;
    within(run.controller.shutdown()).await.unwrap();
    assert_eq!(run.wait().await.unwrap_err().exit_code(), Some(7), "it is stopped as its image says");
}

#[tokio::test]
async fn an_image_that_is_not_there_is_refused_by_its_name() {
    let Some(world) = world().await else { return };
    let named = |name: &str| task("true", |spec, _| spec.image = format!("swarmkit.process/image/{name}"));
    let error = refusal(&world, named("other:1.2")).await;
    assert!(error.starts_with("this node has no image \"other\" (no directory "), "{error}");
    for odd in ["", "..", "a/../b", "/etc", "a//b", "box:../x"] {
        assert_eq!(refusal(&world, named(odd)).await, format!("{odd:?} names no image"));
    }
}
