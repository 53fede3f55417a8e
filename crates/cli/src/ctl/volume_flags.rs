//! The flags that describe a cluster volume.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use swarmkit_api::wire::{
    self, Topology,
    volume_access_mode::{self, AccessType},
    volume_spec::VolumeAvailability,
};

use super::{
    CtlError,
    service_flags::{Csv, labels, values},
};
use crate::units::parse_memory;

/// What a new volume shall be.
#[derive(Clone, Debug, Args)]
pub(super) struct VolumeFlags {
    /// Driver that makes it: the name of a CSI plugin
    #[arg(long, value_name = "NAME")]
    driver: String,

    /// Option for the driver (repeat, or separate with commas)
    #[arg(long, value_name = "KEY=VALUE")]
    opt: Vec<Csv>,

    /// Group of volumes of which any will do for a mount of group:GROUP
    #[arg(long, default_value = "", hide_default_value = true)]
    group: String,

    /// On how many nodes it can be used at a time
    #[arg(long, value_enum, default_value_t)]
    scope: Scope,

    /// By whom it can be used at a time
    #[arg(long, value_enum, default_value_t)]
    sharing: Sharing,

    /// What tasks see of it
    #[arg(long = "type", value_enum, default_value_t)]
    class: Class,

    /// File system to make on it
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    fs_type: String,

    /// Option for mounting its file system (repeat, or separate with commas)
    #[arg(long, value_name = "OPTION")]
    mount_flag: Vec<Csv>,

    /// Secret that the driver is given, as key=name (repeat, or separate with commas)
    #[arg(long, value_name = "KEY=NAME")]
    secret: Vec<Csv>,

    /// How large it has to be at least, such as 10g
    #[arg(long, value_name = "BYTES", value_parser = parse_memory)]
    required_bytes: Option<i64>,

    /// How large it may be at most
    #[arg(long, value_name = "BYTES", value_parser = parse_memory)]
    limit_bytes: Option<i64>,

    /// Place from one of which it has to be reached, as segment=value, several separated by commas (repeat)
    #[arg(long, value_name = "SEGMENT=VALUE")]
    topology_required: Vec<Csv>,

    /// Place from which it should be reached, the best first (repeat)
    #[arg(long, value_name = "SEGMENT=VALUE")]
    topology_preferred: Vec<Csv>,

    #[command(flatten)]
    changing: ChangingFlags,
}

/// What can be changed of a volume later. What is not given is left as it is.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ChangingFlags {
    /// Whether tasks are given it
    #[arg(long, value_enum)]
    availability: Option<Availability>,

    /// Label, as key=value; replaces all labels of the volume (repeat, or separate with commas)
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<Csv>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Scope {
    /// On one
    #[default]
    Single,
    /// On any number
    Multi,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Sharing {
    /// By one task
    #[default]
    None,
    /// By any number that only read
    Readonly,
    /// By one that writes, and any number that only read
    Onewriter,
    /// By any number
    All,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Class {
    /// Files
    #[default]
    Mount,
    /// A block device
    Block,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Availability {
    /// They are
    Active,
    /// Those that have it keep it, others are not given it
    Pause,
    /// Those that have it are stopped, others are not given it
    Drain,
}

impl VolumeFlags {
    /// The names of its secrets, by the keys under which the driver is given them.
    pub(super) fn secrets(&self) -> Result<Vec<(&str, &str)>, CtlError> {
        let pair = |text| str::split_once(text, '=').filter(|(key, name)| !key.is_empty() && !name.is_empty());
        let malformed = |text| CtlError::Usage(format!("malformed secret {text:?}: expected key=name"));
        values(&self.secret).map(|text| pair(text).ok_or_else(|| malformed(text))).collect()
    }

    /// The specification of a volume of that name, with these secrets.
    pub(super) fn spec(&self, name: String, secrets: Vec<wire::VolumeSecret>) -> Result<wire::VolumeSpec, CtlError> {
        let driver = wire::Driver { name: self.driver.clone(), options: pairs("option", &self.opt)? };
        let requisite = places(&self.topology_required)?;
        let preferred = places(&self.topology_preferred)?;
        let is_anywhere = requisite.is_empty() && preferred.is_empty();
        let mut spec = wire::VolumeSpec {
            annotations: Some(wire::Annotations { name, ..Default::default() }),
            group: self.group.clone(),
            driver: Some(driver),
            access_mode: Some(self.access_mode()?),
            secrets,
            accessibility_requirements: (!is_anywhere).then_some(wire::TopologyRequirement { requisite, preferred }),
            ..Default::default()
        };
        if self.required_bytes.is_some() || self.limit_bytes.is_some() {
            let [required_bytes, limit_bytes] = [self.required_bytes, self.limit_bytes].map(Option::unwrap_or_default);
            spec.capacity_range = Some(wire::CapacityRange { required_bytes, limit_bytes });
        }
        self.changing.apply(&mut spec)?;
        Ok(spec)
    }

    fn access_mode(&self) -> Result<wire::VolumeAccessMode, CtlError> {
        let scope = match self.scope {
            Scope::Single => volume_access_mode::Scope::SingleNode,
            Scope::Multi => volume_access_mode::Scope::MultiNode,
        };
        let sharing = match self.sharing {
            Sharing::None => volume_access_mode::Sharing::None,
            Sharing::Readonly => volume_access_mode::Sharing::ReadOnly,
            Sharing::Onewriter => volume_access_mode::Sharing::OneWriter,
            Sharing::All => volume_access_mode::Sharing::All,
        };
        let mount_flags: Vec<_> = values(&self.mount_flag).map(str::to_owned).collect();
        let access_type = match self.class {
            Class::Mount => {
                AccessType::Mount(volume_access_mode::MountVolume { fs_type: self.fs_type.clone(), mount_flags })
            }
            Class::Block if self.fs_type.is_empty() && mount_flags.is_empty() => AccessType::Block(Default::default()),
            Class::Block => return Err(CtlError::Usage("a block device has no file system".to_owned())),
        };
        Ok(wire::VolumeAccessMode { scope: scope.into(), sharing: sharing.into(), access_type: Some(access_type) })
    }
}

impl ChangingFlags {
    pub(super) fn apply(&self, spec: &mut wire::VolumeSpec) -> Result<(), CtlError> {
        if let Some(availability) = self.availability {
            spec.set_availability(match availability {
                Availability::Active => VolumeAvailability::Active,
                Availability::Pause => VolumeAvailability::Pause,
                Availability::Drain => VolumeAvailability::Drain,
            });
        }
        if !self.label.is_empty() {
            spec.annotations.get_or_insert_default().labels = labels(&self.label)?;
        }
        Ok(())
    }
}

/// One place for each time that the flag is given.
fn places(flags: &[Csv]) -> Result<Vec<Topology>, CtlError> {
    flags.iter().map(|place| Ok(Topology { segments: pairs("place", std::slice::from_ref(place))? })).collect()
}

fn pairs(what: &str, flags: &[Csv]) -> Result<BTreeMap<String, String>, CtlError> {
    let pair = |text: &str| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(CtlError::Usage(format!("malformed {what} {text:?}: expected key=value"))),
    };
    values(flags).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct New {
        #[command(flatten)]
        flags: VolumeFlags,
    }

    fn flags(words: &str) -> VolumeFlags {
        New::parse_from(["x", "--driver", "disks"].into_iter().chain(words.split_whitespace())).flags
    }

    fn spec(words: &str) -> Result<wire::VolumeSpec, String> {
        flags(words).spec("v".to_owned(), Vec::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_volume_is_for_one_task_on_one_node_and_has_files_unless_told_otherwise() {
        let made = spec("").unwrap();
        let mode = made.access_mode.clone().unwrap();
        assert_eq!((mode.scope, mode.sharing), (0, 0));
        assert_eq!(mode.access_type, Some(AccessType::Mount(Default::default())));
        assert_eq!((made.annotations.unwrap().name.as_str(), made.driver.unwrap().name.as_str()), ("v", "disks"));
        assert_eq!((made.capacity_range, made.accessibility_requirements, made.availability), (None, None, 0));
    }

    #[test]
    fn every_flag_has_its_place_in_the_specification() {
        let made = spec(
            "--opt kind=ssd,tier=1 --group fast --scope multi --sharing onewriter --fs-type ext4 --mount-flag noatime \
             --required-bytes 1g --limit-bytes 2g --topology-required zone=a,rack=1 --topology-required zone=b \
             --topology-preferred zone=b --availability pause --label a=b",
        )
        .unwrap();
        assert_eq!(
            made.driver.unwrap().options.into_iter().collect::<Vec<_>>(),
            [("kind".into(), "ssd".into()), ("tier".into(), "1".into())]
        );
        let mode = made.access_mode.unwrap();
        assert_eq!((made.group.as_str(), mode.scope, mode.sharing), ("fast", 1, 2));
        let mount = volume_access_mode::MountVolume { fs_type: "ext4".into(), mount_flags: vec!["noatime".into()] };
        assert_eq!(mode.access_type, Some(AccessType::Mount(mount)));
        assert_eq!(made.capacity_range, Some(wire::CapacityRange { required_bytes: 1 << 30, limit_bytes: 2 << 30 }));
        let places = made.accessibility_requirements.unwrap();
        assert_eq!(places.requisite.iter().map(|place| place.segments.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(places.preferred[0].segments["zone"], "b");
        assert_eq!((made.availability, made.annotations.unwrap().labels["a"].as_str()), (1, "b"));
        assert_eq!(flags("--secret user=u,password=p").secrets().unwrap(), [("user", "u"), ("password", "p")]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert_eq!(spec("--type block --fs-type ext4").unwrap_err(), "a block device has no file system");
        assert!(spec("--type block").is_ok());
        assert_eq!(spec("--opt fast").unwrap_err(), "malformed option \"fast\": expected key=value");
        assert_eq!(spec("--topology-required a").unwrap_err(), "malformed place \"a\": expected key=value");
        let refused = flags("--secret token").secrets().unwrap_err().to_string();
        assert_eq!(refused, "malformed secret \"token\": expected key=name");
        let refused = New::try_parse_from(["x", "--group", "g"]).unwrap_err().to_string();
        assert!(refused.contains("--driver"), "{refused}");
    }
}
