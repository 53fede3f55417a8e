//! The flag that says what tasks have mounted.

use std::str::FromStr;

use clap::Args;
use swarmkit_api::wire::{self, mount::Type};

use crate::units::split_csv;

/// What is not given is left as it is.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct MountFlags {
    /// What tasks have mounted, as type=cluster|volume|bind|tmpfs,source=SOURCE,target=PATH[,readonly]; of type cluster the
    /// source is the name of a volume, or group:GROUP; replaces all (repeat)
    #[arg(long, value_name = "MOUNT")]
    mount: Vec<Mount>,
}

/// One mount.
#[derive(Clone, Debug, PartialEq)]
struct Mount(wire::Mount);

impl FromStr for Mount {
    type Err = String;

    /// Fields separated by commas. The type is `volume` unless given; memory has no source.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut mount = wire::Mount { r#type: Type::Volume.into(), ..Default::default() };
        for field in split_csv(text)? {
            let (key, value) = field.split_once('=').unwrap_or((&field, ""));
            match key {
                "type" => mount.set_type(class(value)?),
                "source" | "src" => value.clone_into(&mut mount.source),
                "target" | "destination" | "dst" => value.clone_into(&mut mount.target),
                "readonly" | "ro" => mount.readonly = is_set(value)?,
                _ => return Err(format!("a mount has no {key:?}: only type, source, target and readonly")),
            }
        }
        match (mount.target.is_empty(), mount.source.is_empty(), mount.r#type()) {
            (true, ..) => Err("a mount needs a target".to_owned()),
            (false, false, Type::Tmpfs) => Err("a mount of memory has no source".to_owned()),
            (false, true, Type::Cluster | Type::Bind) => Err("a mount of that type needs a source".to_owned()),
            _ => Ok(Self(mount)),
        }
    }
}

fn class(text: &str) -> Result<Type, String> {
    match text {
        "cluster" => Ok(Type::Cluster),
        "volume" => Ok(Type::Volume),
        "bind" => Ok(Type::Bind),
        "tmpfs" => Ok(Type::Tmpfs),
        _ => Err(format!("{text:?} is no type of mount: cluster, volume, bind or tmpfs")),
    }
}

fn is_set(text: &str) -> Result<bool, String> {
    match text {
        "" | "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("readonly is true or false, not {text:?}")),
    }
}

impl MountFlags {
    /// Puts what was given into what a service's containers have mounted.
    pub(super) fn apply(&self, mounts: &mut Vec<wire::Mount>) {
        if !self.mount.is_empty() {
            *mounts = self.mount.iter().map(|Mount(mount)| mount.clone()).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Type, String, String, bool), String> {
        let Mount(mount) = text.parse()?;
        Ok((mount.r#type(), mount.source, mount.target, mount.readonly))
    }

    #[test]
    fn a_mount_says_its_type_source_and_target_and_whether_it_is_only_read() {
        let of =
            |class, source: &str, target: &str, readonly| Ok((class, source.to_owned(), target.to_owned(), readonly));
        assert_eq!(read("type=cluster,source=data,target=/data"), of(Type::Cluster, "data", "/data", false));
        assert_eq!(read("type=cluster,src=group:fast,dst=/d,readonly"), of(Type::Cluster, "group:fast", "/d", true));
        assert_eq!(read("type=bind,source=/etc,destination=/etc,ro=true"), of(Type::Bind, "/etc", "/etc", true));
        assert_eq!(read("source=v,target=/v,readonly=false"), of(Type::Volume, "v", "/v", false));
        assert_eq!(read("target=/v"), of(Type::Volume, "", "/v", false));
        assert_eq!(read("type=tmpfs,target=/tmp"), of(Type::Tmpfs, "", "/tmp", false));
        assert_eq!(read("type=cluster,\"source=a,b\",target=/d"), of(Type::Cluster, "a,b", "/d", false));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, why) in [
            ("type=csi,source=a,target=/a", "\"csi\" is no type of mount: cluster, volume, bind or tmpfs"),
            ("type=cluster,target=/a", "a mount of that type needs a source"),
            ("type=bind,target=/a", "a mount of that type needs a source"),
            ("type=cluster,source=a", "a mount needs a target"),
            ("type=tmpfs,source=a,target=/a", "a mount of memory has no source"),
            ("source=a,target=/a,readonly=maybe", "readonly is true or false, not \"maybe\""),
            ("source=a,target=/a,size=5", "a mount has no \"size\": only type, source, target and readonly"),
        ] {
            assert_eq!(read(text), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn the_flags_replace_all_mounts_and_none_leaves_them() {
        let flags = |texts: &[&str]| MountFlags { mount: texts.iter().map(|text| text.parse().unwrap()).collect() };
        let mut mounts = vec![wire::Mount::default()];
        flags(&[]).apply(&mut mounts);
        assert_eq!(mounts.len(), 1);
        flags(&["source=a,target=/a", "source=b,target=/b"]).apply(&mut mounts);
        assert_eq!(mounts.iter().map(|mount| &*mount.target).collect::<Vec<_>>(), ["/a", "/b"]);
    }
}
