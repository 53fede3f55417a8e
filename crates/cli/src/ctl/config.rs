//! `swarmctl config`.

use std::path::PathBuf;

use clap::Subcommand;
use swarmkit_api::wire;

use super::{Context, CtlError, Format, ListFlags, lookup, read_content};
use crate::output::{inspect_config, json, list_configs};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a config from a file or from standard input, and print its id
    Create {
        /// Name of the new config
        #[arg(value_name = "NAME")]
        name: String,

        /// File to read instead of standard input
        #[arg(short, long)]
        file: Option<PathBuf>,
    },
    /// Show a config and its content
    Inspect {
        /// Id, beginning of the id, or name
        #[arg(value_name = "CONFIG")]
        config: String,

        /// How to show it
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// List configs
    #[command(visible_alias = "list")]
    Ls {
        #[command(flatten)]
        list: ListFlags,
    },
    /// Remove a config that no service uses
    #[command(visible_alias = "rm")]
    Remove {
        /// Id, beginning of the id, or name
        #[arg(value_name = "CONFIG")]
        config: String,
    },
}

pub(super) async fn run(context: &mut Context<'_>, command: Command) -> Result<(), CtlError> {
    match command {
        Command::Create { name, file } => {
            let data = read_content(file).await?;
            let annotations = wire::Annotations { name, ..Default::default() };
            let spec = wire::ConfigSpec { annotations: Some(annotations), data, ..Default::default() };
            let request = wire::CreateConfigRequest { spec: Some(spec) };
            let config = context.control.create_config(request).await?.into_inner().config.unwrap_or_default();
            Ok(writeln!(context.out, "{}", config.id)?)
        }
        Command::Inspect { config, format } => {
            let config = lookup::config(&mut context.control, &config).await?;
            match format {
                // The content may be anything, so it goes out as it is.
                Format::Table => Ok(context.out.write_all(&inspect_config(&config))?),
                Format::Json => context.show(format, &json::Blob::of_config(&config), String::new),
            }
        }
        Command::Ls { list } => {
            let request = wire::ListConfigsRequest::default();
            let configs = context.control.list_configs(request).await?.into_inner().configs;
            let (ids, now) = (configs.iter().map(|config| config.id.clone()), context.now);
            let json = configs.iter().map(json::Blob::of_config);
            context.list(list, ids, json, || list_configs(&configs, now).to_string())
        }
        Command::Remove { config } => {
            let config = lookup::config(&mut context.control, &config).await?;
            context.control.remove_config(wire::RemoveConfigRequest { config_id: config.id.clone() }).await?;
            Ok(writeln!(context.out, "{}", config.id)?)
        }
    }
}
