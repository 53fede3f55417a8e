//! `swarmctl secret`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use swarmkit_api::wire;

use super::{
    Context, CtlError, Format, ListFlags, lookup, read_content,
    service_flags::{Csv, labels},
};
use crate::output::{inspect_secret, json, list_secrets};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a secret from a file, from standard input, or for a driver to provide, and print its id
    Create(Create),
    /// Show what is known of a secret; never its content
    Inspect {
        /// Id, beginning of the id, or name
        #[arg(value_name = "SECRET")]
        secret: String,

        /// How to show it
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// List secrets
    #[command(visible_alias = "list")]
    Ls {
        #[command(flatten)]
        list: ListFlags,
    },
    /// Remove a secret that no service uses
    #[command(visible_alias = "rm")]
    Remove {
        /// Id, beginning of the id, or name
        #[arg(value_name = "SECRET")]
        secret: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Name of the new secret
    #[arg(value_name = "NAME")]
    name: String,

    /// File to read instead of standard input
    #[arg(short, long)]
    file: Option<PathBuf>,

    /// Driver that provides the value when a task needs it; nothing is read then. The manager that leads needs it (see
    /// `swarmd --secret-driver`)
    #[arg(short, long, value_name = "NAME", conflicts_with = "file")]
    driver: Option<String>,

    /// Label, as key=value, which a driver is told too (repeat, or separate with commas)
    #[arg(short, long, value_name = "KEY=VALUE")]
    label: Vec<Csv>,
}

impl Create {
    async fn spec(self) -> Result<wire::SecretSpec, CtlError> {
        let annotations = wire::Annotations { name: self.name, labels: labels(&self.label)?, ..Default::default() };
        let driver = self.driver.map(|name| wire::Driver { name, ..Default::default() });
        let data = if driver.is_some() { bytes::Bytes::new() } else { read_content(self.file).await? };
        Ok(wire::SecretSpec { annotations: Some(annotations), data, driver, ..Default::default() })
    }
}

pub(super) async fn run(context: &mut Context<'_>, command: Command) -> Result<(), CtlError> {
    match command {
        Command::Create(flags) => {
            let request = wire::CreateSecretRequest { spec: Some(flags.spec().await?) };
            let secret = context.control.create_secret(request).await?.into_inner().secret.unwrap_or_default();
            Ok(writeln!(context.out, "{}", secret.id)?)
        }
        Command::Inspect { secret, format } => {
            let secret = lookup::secret(&mut context.control, &secret).await?;
            context.show(format, &json::Blob::of_secret(&secret), || inspect_secret(&secret).to_string())
        }
        Command::Ls { list } => {
            let request = wire::ListSecretsRequest::default();
            let secrets = context.control.list_secrets(request).await?.into_inner().secrets;
            let (ids, now) = (secrets.iter().map(|secret| secret.id.clone()), context.now);
            let json = secrets.iter().map(json::Blob::of_secret);
            context.list(list, ids, json, || list_secrets(&secrets, now).to_string())
        }
        Command::Remove { secret } => {
            let secret = lookup::secret(&mut context.control, &secret).await?;
            context.control.remove_secret(wire::RemoveSecretRequest { secret_id: secret.id.clone() }).await?;
            Ok(writeln!(context.out, "{}", secret.id)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        create: Create,
    }

    async fn spec(line: &str) -> Result<wire::SecretSpec, String> {
        let words = ["create"].into_iter().chain(line.split(' '));
        let line = Line::try_parse_from(words).map_err(|error| error.kind().to_string())?;
        line.create.spec().await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_secret_of_a_driver_is_made_of_its_name_and_labels_and_reads_nothing() {
        let made = spec("key --driver vault --label path=kv/key -l tier=gold").await.unwrap();
        let annotations = made.annotations.unwrap();
        assert_eq!((annotations.name.as_str(), made.driver.unwrap().name.as_str()), ("key", "vault"));
        let labels: Vec<_> = annotations.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(labels, ["path=kv/key", "tier=gold"]);
        assert!(made.data.is_empty());
    }

    #[tokio::test]
    async fn a_secret_has_a_file_or_a_driver() {
        let both = spec("key --driver vault --file x").await.unwrap_err();
        assert_eq!(both, "an argument cannot be used with one or more of the other specified arguments");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2").unwrap();
        let made = spec(&format!("key --file {}", file.path().display())).await.unwrap();
        assert_eq!((&made.data[..], made.driver), (b"hunter2".as_slice(), None));
    }
}
