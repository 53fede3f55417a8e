//! The flags that replace the root of trust, and what each does to the settings.

use std::path::PathBuf;

use clap::Args;
use swarmkit_api::wire;

use super::{CtlError, read_content};

/// Without any of them the root stays.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct RootFlags {
    /// Replace the root certificate by one that the cluster makes: all nodes get new certificates, and join tokens change
    #[arg(long, conflicts_with = "ca_cert")]
    rotate_ca: bool,

    /// Replace the root certificate by this one (PEM); the present one ends a replacement that is under way
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,

    /// Its private key (PEM); not needed if an external CA has it
    #[arg(long, value_name = "FILE", requires = "ca_cert")]
    ca_key: Option<PathBuf>,

    /// Do not wait until the root certificate is replaced
    #[arg(short, long)]
    detach: bool,
}

/// What the flags say, with the files that they name.
pub(super) struct RootWish {
    rotate: bool,
    certificate: bytes::Bytes,
    key: bytes::Bytes,
    /// Whether to wait until it is done. Not for a replacement that somebody else has asked for.
    pub(super) waits: bool,
}

impl RootFlags {
    /// Reads the files.
    pub(super) async fn read(&self) -> Result<RootWish, CtlError> {
        let content = async |file: &Option<PathBuf>| match file {
            Some(file) => read_content(Some(file.clone())).await,
            None => Ok(bytes::Bytes::new()),
        };
        let (certificate, key) = (content(&self.ca_cert).await?, content(&self.ca_key).await?);
        if self.ca_cert.is_some() && certificate.is_empty() {
            // To the cluster that would say that no root is wanted.
            return Err(CtlError::Usage("the file of --ca-cert is empty".to_owned()));
        }
        let waits = !self.detach && (self.rotate_ca || self.ca_cert.is_some());
        Ok(RootWish { rotate: self.rotate_ca, certificate, key, waits })
    }
}

impl RootWish {
    /// Puts what is wanted into the settings.
    pub(super) fn apply(&self, spec: &mut wire::ClusterSpec) {
        if !self.rotate && self.certificate.is_empty() {
            return;
        }
        let config = spec.ca_config.get_or_insert_default();
        config.signing_ca_cert = self.certificate.clone();
        config.signing_ca_key = self.key.clone();
        if self.rotate {
            config.force_rotate = config.force_rotate.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::ctl::{Args, Command as Top, cluster::Command};

    fn parsed(flags: &[&str]) -> Result<RootFlags, String> {
        let line = ["swarmctl", "cluster", "update"].iter().chain(flags);
        match Args::try_parse_from(line).map_err(|error| error.to_string())?.command {
            Top::Cluster(Command::Update { root, .. }) => Ok(root),
            other => panic!("{other:?}"),
        }
    }

    async fn changed(flags: &[&str]) -> wire::CaConfig {
        let config = wire::CaConfig { force_rotate: 3, ..Default::default() };
        let mut spec = wire::ClusterSpec { ca_config: Some(config), ..Default::default() };
        parsed(flags).unwrap().read().await.unwrap().apply(&mut spec);
        spec.ca_config.unwrap()
    }

    #[tokio::test]
    async fn a_root_is_wanted_by_a_number_or_by_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (cert, key) = (file("cert", "a certificate"), file("key", "a key"));
        assert_eq!(changed(&[]).await, wire::CaConfig { force_rotate: 3, ..Default::default() });
        assert_eq!(changed(&["--rotate-ca"]).await, wire::CaConfig { force_rotate: 4, ..Default::default() });
        let given = wire::CaConfig {
            force_rotate: 3,
            signing_ca_cert: "a certificate".into(),
            signing_ca_key: "a key".into(),
            ..Default::default()
        };
        assert_eq!(changed(&["--ca-cert", &cert, "--ca-key", &key]).await, given);
        let elsewhere = wire::CaConfig { signing_ca_key: bytes::Bytes::new(), ..given };
        assert_eq!(changed(&["--ca-cert", &cert]).await, elsewhere);
        let empty = parsed(&["--ca-cert", &file("empty", "")]).unwrap().read().await.err().unwrap();
        assert_eq!(empty.to_string(), "the file of --ca-cert is empty");
    }

    #[tokio::test]
    async fn who_asks_for_another_root_waits_for_it_and_nobody_else_does() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a certificate").unwrap();
        let given = ["--ca-cert", file.path().to_str().unwrap()];
        for (flags, expected) in [
            (&["--rotate-ca"][..], true),
            (&given, true),
            (&["--rotate-ca", "--detach"], false),
            (&["--taskhistory", "3"], false),
            (&["--rotate-unlock-key"], false),
        ] {
            assert_eq!(parsed(flags).unwrap().read().await.unwrap().waits, expected, "{flags:?}");
        }
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for flags in [&["--rotate-ca", "--ca-cert", "a"][..], &["--ca-key", "a"]] {
            let told = parsed(flags).unwrap_err();
            assert!(told.contains("--ca-cert"), "{told}");
        }
    }
}
