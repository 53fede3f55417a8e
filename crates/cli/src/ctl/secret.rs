//! `swarmctl secret`.

use std::path::PathBuf;

use clap::Subcommand;
use swarmkit_api::wire;

use super::{Context, CtlError, Format, ListFlags, lookup, read_content};
use crate::output::{inspect_secret, json, list_secrets};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a secret from a file or from standard input, and print its id
    Create {
        /// Name of the new secret
        #[arg(value_name = "NAME")]
        name: String,

        /// File to read instead of standard input
        #[arg(short, long)]
        file: Option<PathBuf>,
    },
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

pub(super) async fn run(context: &mut Context<'_>, command: Command) -> Result<(), CtlError> {
    match command {
        Command::Create { name, file } => {
            let data = read_content(file).await?;
            let annotations = wire::Annotations { name, ..Default::default() };
            let spec = wire::SecretSpec { annotations: Some(annotations), data, ..Default::default() };
            let request = wire::CreateSecretRequest { spec: Some(spec) };
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
