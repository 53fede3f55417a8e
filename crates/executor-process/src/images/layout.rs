//! Image layouts: an index, and blobs under the digest of what they hold.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::PathBuf,
};

use serde::{Deserialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::ImageConfig;

/// How large an index, a manifest or a configuration may be.
const TEXT_BYTES_MAX: u64 = 4 << 20;
/// How deep an index may be within others.
const INDEXES_MAX: usize = 4;

/// Where the name of a manifest is.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum LayoutError {
    /// It will not be better next time.
    #[error("{0}")]
    Unsound(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A directory that holds images.
#[derive(Clone, Debug)]
pub(super) struct Layout(PathBuf);

/// What an image is made of.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) digest: String,
    config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

/// A blob.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    platform: Option<Platform>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct ManifestText {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct ConfigText {
    #[serde(default)]
    config: Option<RunText>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RunText {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    stop_signal: Option<String>,
}

impl Layout {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// The manifest with that digest, or that tag, or the only one, or `latest`.
    pub(super) fn manifest(&self, tag: Option<&str>, digest: Option<&str>) -> Result<Manifest, LayoutError> {
        let text = fs::read(self.0.join("index.json"))?;
        let index: Index = parse(&text, "index.json")?;
        let named = |tag: &str| {
            let is_it = |name: &str| name == tag || name.rsplit_once(':').is_some_and(|(_, last)| last == tag);
            index.manifests.iter().find(|entry| entry.annotations.get(REF_NAME).is_some_and(|name| is_it(name)))
        };
        let found = match (digest, tag, index.manifests.as_slice()) {
            (Some(digest), ..) => index.manifests.iter().find(|entry| entry.digest == digest),
            // Clients complete a name without a tag by this one.
            (None, None | Some("latest"), [only]) => Some(only),
            (None, tag, _) => named(tag.unwrap_or("latest")),
        };
        let wanted = digest.or(tag).unwrap_or("latest");
        let found = found.ok_or_else(|| LayoutError::Unsound(format!("the layout has no {wanted:?}")))?;
        self.descend(found, INDEXES_MAX)
    }

    /// The manifest that an entry leads to: itself, or within an index the one for this machine.
    fn descend(&self, entry: &Descriptor, depth: usize) -> Result<Manifest, LayoutError> {
        let text = self.text(entry)?;
        if !entry.media_type.contains("index") && !entry.media_type.contains("manifest.list") {
            let ManifestText { config, layers } = parse(&text, &entry.digest)?;
            return Ok(Manifest { digest: entry.digest.clone(), config, layers });
        }
        let index: Index = parse(&text, &entry.digest)?;
        let (os, architecture) = (std::env::consts::OS, architecture());
        let fits = |platform: &Platform| (platform.os.as_str(), platform.architecture.as_str()) == (os, architecture);
        let found = index.manifests.iter().find(|entry| entry.platform.as_ref().is_some_and(fits));
        match found {
            Some(found) if depth > 0 => self.descend(found, depth - 1),
            Some(_) => Err(LayoutError::Unsound("indexes within indexes without end".to_owned())),
            None => Err(LayoutError::Unsound(format!("the layout has nothing for {os}/{architecture}"))),
        }
    }

    /// How the image is run.
    pub(super) fn config(&self, manifest: &Manifest) -> Result<ImageConfig, LayoutError> {
        let text: ConfigText = parse(&self.text(&manifest.config)?, &manifest.config.digest)?;
        let run = text.config.unwrap_or_default();
        Ok(ImageConfig {
            entrypoint: run.entrypoint.unwrap_or_default(),
            cmd: run.cmd.unwrap_or_default(),
            env: run.env.unwrap_or_default(),
            user: run.user.unwrap_or_default(),
            dir: run.working_dir.unwrap_or_default(),
            stop_signal: run.stop_signal.unwrap_or_default(),
        })
    }

    /// Opens a blob, after reading all of it to see that it is what its digest says.
    pub(super) fn blob(&self, entry: &Descriptor) -> Result<File, LayoutError> {
        let unsound = |what: &str| LayoutError::Unsound(format!("blob {}: {what}", entry.digest));
        let hex = entry.digest.strip_prefix("sha256:").ok_or_else(|| unsound("not a SHA-256 digest"))?;
        if hex.len() != 64 || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(unsound("not a SHA-256 digest"));
        }
        let path = self.0.join("blobs/sha256").join(hex);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(unsound("it is not in the layout")),
            opened => opened?,
        };
        let mut hash = Sha256::new();
        let bytes = io::copy(&mut file, &mut hash)?;
        let digest = hash.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        if bytes != entry.size || digest != hex {
            return Err(unsound("it holds something else"));
        }
        Ok(File::open(path)?)
    }

    fn text(&self, entry: &Descriptor) -> Result<Vec<u8>, LayoutError> {
        if entry.size > TEXT_BYTES_MAX {
            return Err(LayoutError::Unsound(format!("blob {}: too large", entry.digest)));
        }
        let mut text = Vec::new();
        self.blob(entry)?.take(TEXT_BYTES_MAX).read_to_end(&mut text)?;
        Ok(text)
    }
}

fn parse<T: DeserializeOwned>(text: &[u8], what: &str) -> Result<T, LayoutError> {
    serde_json::from_slice(text).map_err(|error| LayoutError::Unsound(format!("{what}: {error}")))
}

/// This machine's, in the words of images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}
