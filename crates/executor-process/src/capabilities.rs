//! Which of root's capabilities a task keeps.

use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
};
use swarmkit_api::wire::ContainerSpec;
use swarmkit_executor::Cause;

/// What a task with an image keeps unless it says otherwise: what container engines give, but for making device files,
/// which they can allow because they fence devices off in another way.
const USUAL: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// What a task keeps, as bits. `None` for all that the executor has. `own` is what that is.
pub(crate) fn kept(spec: &ContainerSpec, has_image: bool, own: CapabilitySet) -> Result<Option<u64>, Cause> {
    if !has_image && spec.capability_add.is_empty() && spec.capability_drop.is_empty() {
        return Ok(None);
    }
    let (add, drop) = (Named::read(&spec.capability_add)?, Named::read(&spec.capability_drop)?);
    let lacking = |name: &&String| parse(name).is_some_and(|capability| !own.contains(capability));
    if let Some(name) = spec.capability_add.iter().find(lacking) {
        return Err(format!("capability {name}: this node does not have it to give").into());
    }
    let usual = if has_image { USUAL } else { own };
    let base = match (drop.all, add.all) {
        (true, _) => CapabilitySet::empty(),
        (false, true) => own.difference(drop.set),
        (false, false) => usual.difference(drop.set),
    };
    Ok(Some(base.union(add.set).intersection(own).bits()))
}

/// Names of capabilities, with `ALL` told apart.
struct Named {
    set: CapabilitySet,
    all: bool,
}

impl Named {
    fn read(names: &[String]) -> Result<Self, Cause> {
        let mut named = Self { set: CapabilitySet::empty(), all: false };
        for name in names {
            if name.eq_ignore_ascii_case("ALL") {
                named.all = true;
            } else {
                named.set |= parse(name).ok_or_else(|| format!("unknown capability {name:?}"))?;
            }
        }
        Ok(named)
    }
}

/// Reads `CAP_NET_ADMIN` or `net_admin`.
fn parse(name: &str) -> Option<CapabilitySet> {
    let name = name.to_ascii_uppercase();
    CapabilitySet::from_name(name.strip_prefix("CAP_").unwrap_or(&name))
}

/// What this program may do itself.
pub(crate) fn own() -> CapabilitySet {
    rustix::thread::capabilities(None).map_or_else(|_| CapabilitySet::empty(), |sets| sets.permitted)
}

/// Whether this program has root's right to mount and to make namespaces.
pub(crate) fn may_administer() -> bool {
    own().contains(CapabilitySet::SYS_ADMIN)
}

/// Makes sure that the next program keeps what this one has, whoever it runs as. For our own programs only.
pub(crate) fn pass_on() -> rustix::io::Result<()> {
    let own = own();
    set_capabilities(None, CapabilitySets { effective: own, permitted: own, inheritable: own })?;
    for capability in own.iter() {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// Takes away for good what is not in `kept`. Before a change of user, which takes the right to do it.
pub(crate) fn bound(kept: u64) -> rustix::io::Result<()> {
    let kept = CapabilitySet::from_bits_retain(kept);
    for bit in (0..u64::BITS).map(|shift| CapabilitySet::from_bits_retain(1 << shift)) {
        // Those that this kernel does not have are refused.
        if !kept.contains(bit) && capability_is_in_bounding_set(bit).unwrap_or(false) {
            remove_capability_from_bounding_set(bit)?;
        }
    }
    Ok(())
}

/// Lets go of what is not in `kept`. After a change of user; one that is not root keeps nothing.
pub(crate) fn settle(kept: Option<u64>) -> rustix::io::Result<()> {
    clear_ambient_capability_set()?;
    let kept = match kept {
        _ if !rustix::process::geteuid().is_root() => CapabilitySet::empty(),
        None => own(),
        Some(bits) => own().intersection(CapabilitySet::from_bits_retain(bits)),
    };
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps(add: &[&str], drop: &[&str], has_image: bool) -> Result<Option<CapabilitySet>, String> {
        let own = USUAL | CapabilitySet::SYS_ADMIN | CapabilitySet::MKNOD;
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let spec = ContainerSpec { capability_add: names(add), capability_drop: names(drop), ..Default::default() };
        let kept = kept(&spec, has_image, own).map_err(|error| error.to_string())?;
        Ok(kept.map(CapabilitySet::from_bits_retain))
    }

    #[test]
    fn capabilities_are_added_and_taken_as_container_engines_do() {
        assert_eq!(keeps(&[], &[], false), Ok(None), "a process of the machine keeps what there is");
        assert_eq!(keeps(&[], &[], true), Ok(Some(USUAL)));
        assert_eq!(keeps(&["SYS_ADMIN"], &["ALL"], false), Ok(Some(CapabilitySet::SYS_ADMIN)));
        assert_eq!(keeps(&["cap_sys_admin"], &["CHOWN"], true), {
            Ok(Some(USUAL.union(CapabilitySet::SYS_ADMIN).difference(CapabilitySet::CHOWN)))
        });
        let all = USUAL | CapabilitySet::SYS_ADMIN | CapabilitySet::MKNOD;
        assert_eq!(keeps(&["ALL"], &["KILL"], true), Ok(Some(all.difference(CapabilitySet::KILL))));
        assert_eq!(keeps(&["FLY"], &[], true), Err("unknown capability \"FLY\"".to_owned()));
        let missing = "capability BPF: this node does not have it to give".to_owned();
        assert_eq!(keeps(&["BPF"], &[], false), Err(missing));
    }
}
