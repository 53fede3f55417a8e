//! `swarmctl volume`.

use clap::Subcommand;
use swarmkit_api::wire;

use super::{
    Context, CtlError, Format, ListFlags, lookup,
    volume_flags::{ChangingFlags, VolumeFlags},
};
use crate::output::{inspect_volume, json, list_volumes};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Ask for a volume to be made by its driver, and print its id
    Create {
        /// Name of the new volume
        #[arg(value_name = "NAME")]
        name: String,

        #[command(flatten)]
        flags: Box<VolumeFlags>,
    },
    /// Show a volume, and on which nodes it is
    Inspect {
        /// Id, name, or beginning of the id
        #[arg(value_name = "VOLUME")]
        volume: String,

        /// How to show it
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// List volumes
    #[command(visible_alias = "list")]
    Ls {
        #[command(flatten)]
        list: ListFlags,
    },
    /// Have a volume deleted by its driver, with all that is on it, when no node has it any more
    #[command(visible_alias = "rm")]
    Remove {
        /// Id, name, or beginning of the id
        #[arg(value_name = "VOLUME")]
        volume: String,

        /// Forget it at once, whoever uses it; what the driver has made stays there
        #[arg(short, long)]
        force: bool,
    },
    /// Change the labels of a volume, or whether tasks are given it
    Update {
        /// Id, name, or beginning of the id
        #[arg(value_name = "VOLUME")]
        volume: String,

        #[command(flatten)]
        flags: ChangingFlags,
    },
}

pub(super) async fn run(context: &mut Context<'_>, command: Command) -> Result<(), CtlError> {
    match command {
        Command::Create { name, flags } => {
            let mut secrets = Vec::new();
            for (key, secret) in flags.secrets()? {
                let secret = lookup::secret(&mut context.control, secret).await?.id;
                secrets.push(wire::VolumeSecret { key: key.to_owned(), secret });
            }
            let request = wire::CreateVolumeRequest { spec: Some(flags.spec(name, secrets)?) };
            let volume = context.control.create_volume(request).await?.into_inner().volume.unwrap_or_default();
            Ok(writeln!(context.out, "{}", volume.id)?)
        }
        Command::Inspect { volume, format } => {
            let volume = lookup::volume(&mut context.control, &volume).await?;
            let (names, now) = (context.names().await?, context.now);
            context.show(format, &json::Volume::new(&volume), || inspect_volume(&volume, &names, now).to_string())
        }
        Command::Ls { list } => {
            let request = wire::ListVolumesRequest::default();
            let volumes = context.control.list_volumes(request).await?.into_inner().volumes;
            let ids = volumes.iter().map(|volume| volume.id.clone());
            context.list(list, ids, volumes.iter().map(json::Volume::new), || list_volumes(&volumes).to_string())
        }
        Command::Remove { volume, force } => {
            let volume = lookup::volume(&mut context.control, &volume).await?;
            let request = wire::RemoveVolumeRequest { volume_id: volume.id.clone(), force };
            context.control.remove_volume(request).await?;
            Ok(writeln!(context.out, "{}", volume.id)?)
        }
        Command::Update { volume, flags } => {
            let id = update(context, &volume, &flags).await?;
            Ok(writeln!(context.out, "{id}")?)
        }
    }
}

/// Changes a volume and gives its id.
async fn update(context: &mut Context<'_>, wanted: &str, flags: &ChangingFlags) -> Result<String, CtlError> {
    let mut attempts = crate::client::UPDATE_ATTEMPTS_MAX;
    loop {
        let volume = lookup::volume(&mut context.control, wanted).await?;
        let mut spec = volume.spec.clone().unwrap_or_default();
        flags.apply(&mut spec)?;
        if Some(&spec) == volume.spec.as_ref() {
            return Err(CtlError::State(format!("No change for volume {wanted}")));
        }
        let volume_version = volume.meta.unwrap_or_default().version;
        let request = wire::UpdateVolumeRequest { volume_id: volume.id.clone(), volume_version, spec: Some(spec) };
        attempts -= 1;
        match context.control.update_volume(request).await {
            Err(status) if attempts > 0 && crate::client::is_out_of_sequence(&status) => {}
            result => return Ok(result.map(|_| volume.id)?),
        }
    }
}
