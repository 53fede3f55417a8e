//! Layouts in, root file systems or refusals out.

use std::{
    collections::BTreeMap,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::*;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// One entry of a layer.
enum Put<'a> {
    Dir(&'a str, u32),
    File(&'a str, &'a str),
    Link(&'a str, &'a str),
    Same(&'a str, &'a str),
}

/// An image layout in the making, and the images of a node with it.
struct World {
    dir: TempDir,
    images: Images,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["images/web/blobs/sha256", "unpacked"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("images/web/oci-layout"), "{}").unwrap();
        let images = Images::new(dir.path().join("images"), dir.path().join("unpacked"));
        Self { dir, images }
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> serde_json::Value {
        let hex = Sha256::digest(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        fs::write(self.dir.path().join("images/web/blobs/sha256").join(&hex), bytes).unwrap();
        serde_json::json!({"mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len()})
    }

    /// An image of these layers, under a tag.
    fn image(&self, layers: &[&[Put<'_>]], tag: &str) -> serde_json::Value {
        let layers: Vec<_> = layers.iter().map(|puts| self.blob(LAYER, &archive(puts))).collect();
        self.of_layers(&layers, tag)
    }

    fn of_layers(&self, layers: &[serde_json::Value], tag: &str) -> serde_json::Value {
        let config =
            self.blob("application/vnd.oci.image.config.v1+json", br#"{"config":{"User":"web","Env":["A=1"]}}"#);
        let manifest = serde_json::json!({"config": config, "layers": layers, "annotations": {"made": tag}});
        let mut manifest = self.blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
        manifest["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": tag});
        manifest
    }

    fn index(&self, manifests: &[serde_json::Value]) {
        let text = serde_json::json!({"manifests": manifests}).to_string();
        fs::write(self.dir.path().join("images/web/index.json"), text).unwrap();
    }

    fn find(&self, name: &str) -> Result<Image, String> {
        match self.images.find(&format!("{PROCESS_IMAGES}{name}")) {
            Ok(image) => Ok(image.unwrap()),
            Err(ExecError::Rejected(reason)) => Err(reason.to_string()),
            Err(other) => panic!("what is not sound is rejected: {other:?}"),
        }
    }

    /// The root of an image with one manifest.
    fn root(&self, layers: &[&[Put<'_>]]) -> Result<PathBuf, String> {
        self.index(&[self.image(layers, "latest")]);
        self.find("web").map(|image| image.root)
    }
}

fn archive(puts: &[Put<'_>]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for put in puts {
        let mut header = tar::Header::new_gnu();
        let (name, kind, mode, text, to) = match put {
            Put::Dir(name, mode) => (name, tar::EntryType::Directory, *mode, "", None),
            Put::File(name, text) => (name, tar::EntryType::Regular, 0o640, *text, None),
            Put::Link(name, to) => (name, tar::EntryType::Symlink, 0o777, "", Some(to)),
            Put::Same(name, to) => (name, tar::EntryType::Link, 0o644, "", Some(to)),
        };
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(text.len() as u64);
        let me = rustix::process::geteuid().as_raw();
        header.set_uid(u64::from(me));
        header.set_gid(u64::from(rustix::process::getegid().as_raw()));
        // Set by hand: a builder refuses what leads elsewhere.
        let bytes = header.as_mut_bytes();
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        if let Some(to) = to {
            bytes[157..157 + to.len()].copy_from_slice(to.as_bytes());
        }
        header.set_cksum();
        archive.append(&header, text.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// What is below a directory, by path: the text of files, and where links lead to.
fn seen(root: &Path) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            if kind.is_dir() {
                left.push(path);
            } else if kind.is_symlink() {
                seen.insert(name, format!("-> {}", fs::read_link(path).unwrap().display()));
            } else {
                seen.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    seen
}

fn names(root: &Path) -> Vec<String> {
    seen(root).into_keys().collect()
}

#[test]
fn layers_are_put_over_one_another() {
    let world = World::new();
    let root = world.root(&[
        &[Put::Dir("./", 0o755), Put::Dir("etc", 0o750), Put::File("etc/a", "1"), Put::File("./etc/b", "1")],
        &[
            Put::File("etc/a", "2"),
            Put::File("new/deep/c", "2"),
            Put::Link("lib", "usr/lib"),
            Put::Same("etc/d", "etc/b"),
        ],
    ]);
    let root = root.unwrap();
    let expected = [("etc/a", "2"), ("etc/b", "1"), ("etc/d", "1"), ("lib", "-> usr/lib"), ("new/deep/c", "2")];
    assert_eq!(seen(&root), expected.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
    let mode = |name: &str| fs::metadata(root.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("etc"), mode("etc/a"), mode("new")), (0o750, 0o640, 0o755));
    assert_eq!(fs::metadata(root.join("etc/b")).unwrap().ino(), fs::metadata(root.join("etc/d")).unwrap().ino());
    let image = world.find("web").unwrap();
    assert_eq!((image.config.user.as_str(), image.config.env.as_slice()), ("web", &["A=1".to_owned()][..]));
    assert_eq!(image.root, root, "it is unpacked once");
}

#[test]
fn marks_take_away_what_layers_below_have_and_nothing_of_their_own() {
    let world = World::new();
    let below: &[Put<'_>] =
        &[Put::File("a/x", "1"), Put::File("a/y/z", "1"), Put::File("b/x", "1"), Put::File("c", "1")];
    let root = world.root(&[
        below,
        &[
            Put::File("a/new", "2"),
            Put::File("a/.wh..wh..opq", ""),
            Put::File("b/.wh.x", ""),
            Put::File(".wh.c", ""),
            Put::File(".wh.nothing", ""),
            Put::File("gone/.wh.nothing", ""),
        ],
    ]);
    assert_eq!(names(&root.unwrap()), ["a/new"]);
    let root = world.root(&[below, &[Put::File(".wh.a", ""), Put::File("a", "a file now")]]).unwrap();
    assert_eq!(seen(&root)["a"], "a file now");
    assert_eq!(names(&root), ["a", "b/x", "c"]);
}

#[test]
fn nothing_in_a_layer_leads_out_of_the_root() {
    let world = World::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("kept"), "kept").unwrap();
    let to = outside.path().to_str().unwrap();
    for odd in ["../x", "a/../../x", ".wh...", "a/.wh..", ".wh."] {
        let error = world.root(&[&[Put::File(odd, "")]]).unwrap_err();
        assert!(
            error.starts_with("image \"web\": layer sha256:") && error.ends_with("leads elsewhere"),
            "{odd}: {error}"
        );
    }
    let error = world.root(&[&[Put::Same("a", "../../kept")]]).unwrap_err();
    assert!(error.ends_with("its entry a is linked with what is elsewhere"), "{error}");
    // A link of a layer below is followed within the root, and one that is replaced is not followed at all.
    let link = Put::Link("out", to);
    let root = world.root(&[&[link, Put::Dir(&to[1..], 0o755)], &[Put::File("out/kept", "inside")]]).unwrap();
    assert_eq!(seen(&root)[&format!("{}/kept", &to[1..])], "inside");
    let file = format!("{to}/kept");
    let root = world.root(&[&[Put::Link("file", &file)], &[Put::File("file", "inside")]]).unwrap();
    assert_eq!(seen(&root)["file"], "inside");
    let root = world.root(&[&[Put::Link("dir", to), Put::File(".keep", "")], &[Put::File(".wh.dir", "")]]).unwrap();
    assert_eq!(names(&root), [".keep"]);
    assert_eq!(fs::read_to_string(outside.path().join("kept")).unwrap(), "kept");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn a_blob_that_is_not_what_its_digest_says_is_refused_and_leaves_nothing() {
    let world = World::new();
    let manifest = world.image(&[&[Put::File("a", "1")]], "latest");
    world.index(std::slice::from_ref(&manifest));
    let blobs = world.dir.path().join("images/web/blobs/sha256");
    let layer = archive(&[Put::File("a", "1")]);
    let is_layer = |path: &PathBuf| fs::read(path).unwrap() == layer;
    let path = fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path()).find(is_layer).unwrap();
    let mut other = layer.clone();
    other[512] = b'2';
    fs::write(&path, &other).unwrap();
    assert!(world.find("web").unwrap_err().ends_with("it holds something else"));
    fs::remove_file(&path).unwrap();
    assert!(world.find("web").unwrap_err().ends_with("it is not in the layout"));
    fs::write(&path, &layer).unwrap();
    assert_eq!(names(&world.find("web").unwrap().root), ["a"], "it can be put right");
    let mut bad = manifest;
    bad["digest"] = "sha256:../../x".into();
    world.index(&[bad]);
    assert!(world.find("web").unwrap_err().ends_with("not a SHA-256 digest"));
}

#[test]
fn an_image_is_found_by_tag_digest_and_platform() {
    let world = World::new();
    let (one, two) =
        (world.image(&[&[Put::File("one", "")]], "1.0"), world.image(&[&[Put::File("two", "")]], "x/web:2.0"));
    world.index(&[one.clone(), two.clone()]);
    let found = |name: &str| world.find(name).map(|image| names(&image.root).join(","));
    assert_eq!((found("web:1.0").unwrap(), found("web:2.0").unwrap()), ("one".to_owned(), "two".to_owned()));
    assert_eq!(found(&format!("web@{}", one["digest"].as_str().unwrap())).unwrap(), "one");
    assert_eq!(found("web").unwrap_err(), "image \"web\": the layout has no \"latest\"");
    assert_eq!(found("web:3").unwrap_err(), "image \"web\": the layout has no \"3\"");
    let (mut mine, mut other) = (one, two);
    let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    mine["platform"] = serde_json::json!({"os": "linux", "architecture": architecture});
    other["platform"] = serde_json::json!({"os": "plan9", "architecture": architecture});
    let index = serde_json::json!({"manifests": [other, mine]}).to_string();
    world.index(&[world.blob("application/vnd.oci.image.index.v1+json", index.as_bytes())]);
    assert_eq!(found("web").unwrap(), "one");
    world.index(&[world.blob("application/vnd.oci.image.index.v1+json", br#"{"manifests":[]}"#)]);
    assert!(found("web").unwrap_err().starts_with("image \"web\": the layout has nothing for linux/"));
}

#[test]
fn a_layer_of_an_unknown_kind_is_refused_by_it() {
    let world = World::new();
    let layer = world.blob("application/vnd.oci.image.layer.v1.tar+zstd", b"");
    world.index(&[world.of_layers(&[layer], "latest")]);
    let error = world.find("web").unwrap_err();
    assert!(error.ends_with("it is of the unknown kind \"application/vnd.oci.image.layer.v1.tar+zstd\""), "{error}");
    let layer = world.blob(LAYER, b"nonsense");
    world.index(&[world.of_layers(&[layer], "latest")]);
    assert!(world.find("web").is_err());
}
