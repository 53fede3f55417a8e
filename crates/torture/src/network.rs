//! Where members find each other, and how one is cut off from the others.
//!
//! As root each member has a network namespace of its own, with one cable to a bridge that has a namespace too: a cut is a
//! cable that is pulled, or packets that are dropped in one direction. All names begin with `PREFIX` and the number of
//! this process, so that what a run that was killed has left behind is recognised and removed by the next one.
//! Otherwise members share the loopback interface and cannot be cut off.

use std::{
    ffi::OsStr,
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

/// How the names of our namespaces begin.
const PREFIX: &str = "swt";

/// The port that every member listens on in its own namespace.
const PORT: u16 = 4242;

/// How a member is separated from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Cut {
    /// Its cable is pulled: nothing goes in or out.
    Off,
    /// What others send does not reach it.
    Deaf,
    /// What it sends reaches nobody.
    Mute,
}

/// The network of a cluster. Dropping it removes what was made for it.
#[derive(Debug)]
pub struct Network(Kind);

#[derive(Debug)]
enum Kind {
    Namespaces(Namespaces),
    /// One address for each member, and why there are no namespaces.
    Loopback(Vec<SocketAddrV4>, String),
}

#[derive(Debug)]
struct Namespaces {
    /// What all names of this run begin with.
    run: String,
    members: usize,
}

impl Network {
    /// Makes a network of namespaces if this machine and the rights of this process allow it, else shares the loopback
    /// interface; [`Self::describe`] says which, and why.
    ///
    /// # Errors
    ///
    /// As [`Self::loopback`].
    pub fn new(members: usize) -> Result<Self> {
        match Namespaces::new(members) {
            Ok(namespaces) => Ok(Self(Kind::Namespaces(namespaces))),
            Err(error) => Self::on_loopback(members, format!("{error:#}")),
        }
    }

    /// All members on the loopback interface, each with a port that nobody listens on.
    ///
    /// # Errors
    ///
    /// When there are no more ports.
    pub fn loopback(members: usize) -> Result<Self> {
        Self::on_loopback(members, "as was asked for".to_owned())
    }

    fn on_loopback(members: usize, why: String) -> Result<Self> {
        let free = |_| -> Result<SocketAddrV4> {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
        };
        Ok(Self(Kind::Loopback((0..members).map(free).collect::<Result<_>>()?, why)))
    }

    /// Whether members can be cut off.
    #[must_use]
    pub fn can_cut(&self) -> bool {
        matches!(self.0, Kind::Namespaces(_))
    }

    /// What kind of network this is, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.0 {
            Kind::Namespaces(_) => "each manager in a network namespace of its own, one bridge".to_owned(),
            Kind::Loopback(_, why) => format!("loopback addresses, so nobody is cut off ({why})"),
        }
    }

    /// Where a member listens and is reached.
    #[must_use]
    pub fn address(&self, member: usize) -> SocketAddrV4 {
        match &self.0 {
            Kind::Namespaces(_) => SocketAddrV4::new(ip(member), PORT),
            Kind::Loopback(addresses, _) => addresses[member],
        }
    }

    /// The namespace of a member, for a thread to enter.
    #[must_use]
    pub fn namespace(&self, member: usize) -> Option<PathBuf> {
        match &self.0 {
            Kind::Namespaces(namespaces) => Some(Path::new("/run/netns").join(namespaces.member(member))),
            Kind::Loopback(..) => None,
        }
    }

    /// A call of a program where the member lives. The process is the program's own, so signals reach it.
    #[must_use]
    pub fn command(&self, member: usize, program: &Path) -> Command {
        match self.namespace(member) {
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", namespace.display())).arg(program);
                command
            }
            None => Command::new(program),
        }
    }

    /// Separates a member from the others.
    ///
    /// # Errors
    ///
    /// On a network that cannot, or what the tools say.
    pub fn cut(&self, member: usize, cut: Cut) -> Result<()> {
        self.namespaces()?.set(member, cut, true)
    }

    /// Takes a cut back.
    ///
    /// # Errors
    ///
    /// As [`Self::cut`].
    pub fn mend(&self, member: usize, cut: Cut) -> Result<()> {
        self.namespaces()?.set(member, cut, false)
    }

    fn namespaces(&self) -> Result<&Namespaces> {
        match &self.0 {
            Kind::Namespaces(namespaces) => Ok(namespaces),
            Kind::Loopback(..) => bail!("on the loopback interface nobody can be cut off"),
        }
    }
}

// === impl Namespaces ===

impl Namespaces {
    fn new(members: usize) -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "namespaces need the rights of root");
        for tool in ["nsenter", "iptables"] {
            self::tool(tool, ["--version"])?;
        }
        remove_abandoned()?;
        let namespaces = Self { run: format!("{PREFIX}{}", std::process::id()), members };
        namespaces.make().context("making network namespaces")?;
        Ok(namespaces)
    }

    fn member(&self, member: usize) -> String {
        format!("{}-{member}", self.run)
    }

    fn switch(&self) -> String {
        format!("{}-sw", self.run)
    }

    fn make(&self) -> Result<()> {
        let switch = self.switch();
        ip_tool(["netns", "add", &switch])?;
        ip_tool(["-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        ip_tool(["-n", &switch, "link", "set", "br0", "up"])?;
        for member in 0..self.members {
            let (own, cable) = (self.member(member), cable(member));
            ip_tool(["netns", "add", &own])?;
            ip_tool(["link", "add", &cable, "netns", &switch, "type", "veth", "peer", "name", "eth0", "netns", &own])?;
            ip_tool(["-n", &switch, "link", "set", &cable, "master", "br0", "up"])?;
            ip_tool(["-n", &own, "addr", "add", &format!("{}/24", ip(member)), "dev", "eth0"])?;
            ip_tool(["-n", &own, "link", "set", "eth0", "up"])?;
            ip_tool(["-n", &own, "link", "set", "lo", "up"])?;
        }
        Ok(())
    }

    fn set(&self, member: usize, cut: Cut, separated: bool) -> Result<()> {
        let own = self.member(member);
        let change = if separated { "-I" } else { "-D" };
        let chain = match cut {
            Cut::Off => {
                let state = if separated { "down" } else { "up" };
                return ip_tool(["-n", &self.switch(), "link", "set", &cable(member), state]);
            }
            Cut::Deaf => ["INPUT", "-i"],
            Cut::Mute => ["OUTPUT", "-o"],
        };
        let namespace = format!("--net=/run/netns/{own}");
        let [chain, side] = chain;
        tool("nsenter", [&namespace, "iptables", "-w", change, chain, side, "eth0", "-j", "DROP"])
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in (0..self.members).map(|member| self.member(member)).chain([self.switch()]) {
            // One that was not made yet cannot be removed, and need not be.
            let _ = ip_tool(["netns", "del", &name]);
        }
    }
}

/// Removes the namespaces of runs that have ended without doing so.
fn remove_abandoned() -> Result<()> {
    let list = Command::new("ip").args(["netns", "list"]).output().context("calling ip")?;
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    for name in list.lines().filter_map(|line| line.split_whitespace().next()) {
        if owner(name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            ip_tool(["netns", "del", name])?;
        }
    }
    Ok(())
}

/// The process that made a namespace, by its name.
fn owner(namespace: &str) -> Option<u32> {
    namespace.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

/// The end of a member's cable at the bridge.
fn cable(member: usize) -> String {
    format!("m{member}")
}

fn ip(member: usize) -> Ipv4Addr {
    let last = u8::try_from(member + 1).expect("invariant: a cluster has less than 255 managers");
    Ipv4Addr::new(10, 99, 0, last)
}

fn ip_tool<const N: usize>(args: [&str; N]) -> Result<()> {
    tool("ip", args)
}

fn tool(program: &str, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<()> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("calling {program}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_namespace_says_whose_it_is() {
        assert_eq!(owner("swt42-0"), Some(42));
        assert_eq!(owner("swt42-sw"), Some(42));
        assert_eq!(owner("switch-1"), None);
        assert_eq!(owner("other"), None);
    }

    #[test]
    fn members_of_the_loopback_interface_have_ports_of_their_own_and_cannot_be_cut_off() {
        let network = Network::loopback(3).expect("there are ports");
        assert_ne!(network.address(0), network.address(1));
        assert!(!network.can_cut());
        assert!(network.cut(0, Cut::Off).is_err());
    }
}
