//! The flags that say what surrounds the program of a task: its root, rights, limits and names.

use std::{collections::BTreeMap, str::FromStr};

use clap::Args;
use swarmkit_api::wire::{self, container_spec::Ulimit};

use super::{
    CtlError,
    service_flags::{Csv, set_list, values},
};

/// What is not given is left as it is.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ContainerFlags {
    /// Whether the root file system is read-only
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    read_only: Option<bool>,

    /// Whether a small init is the first process
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    init: Option<bool>,

    /// Whether the program is kept from gaining privileges
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    no_new_privileges: Option<bool>,

    /// Capabilities beyond the usual ones; replaces all
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<Csv>,

    /// Capabilities to take away from the usual ones; replaces all
    #[arg(long, value_name = "NAME")]
    cap_drop: Vec<Csv>,

    /// Further groups of the user; replaces all
    #[arg(long, value_name = "GROUP")]
    group: Vec<Csv>,

    /// Kernel settings of the task; replaces all
    #[arg(long, value_name = "NAME=VALUE")]
    sysctl: Vec<Csv>,

    /// Limits of the kernel, as NAME=SOFT[:HARD], -1 for none; replaces all (repeat)
    #[arg(long, value_name = "LIMIT")]
    ulimit: Vec<Limit>,

    /// How many processes there may be; 0 is without limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    limit_pids: Option<i64>,

    /// How readily the kernel ends the program when memory runs out, from -1000 to 1000
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1000..=1000))]
    oom_score_adj: Option<i64>,

    /// The signal that asks the program to stop
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,

    /// Lines for the table of hosts, as NAME:ADDRESS; replaces all
    #[arg(long, value_name = "HOST")]
    host: Vec<Csv>,

    /// Name servers; replaces all
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<Csv>,

    /// Domains that names are looked for in; replaces all
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<Csv>,

    /// Options of the resolver; replaces all
    #[arg(long, value_name = "OPTION")]
    dns_option: Vec<Csv>,
}

/// One limit of the kernel.
#[derive(Clone, Debug, PartialEq)]
struct Limit(Ulimit);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("{text:?} is not NAME=SOFT[:HARD]");
        let (name, values) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(fault)?;
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= -1).ok_or_else(fault);
        Ok(Self(Ulimit { name: name.to_owned(), soft: number(soft)?, hard: number(hard)? }))
    }
}

impl ContainerFlags {
    /// Puts what was given into a container.
    pub(super) fn apply(&self, container: &mut wire::ContainerSpec) -> Result<(), CtlError> {
        container.read_only = self.read_only.unwrap_or(container.read_only);
        container.init = self.init.or(container.init);
        if let Some(value) = self.no_new_privileges {
            container.privileges.get_or_insert_default().no_new_privileges = value;
        }
        set_list(&mut container.capability_add, &self.cap_add);
        set_list(&mut container.capability_drop, &self.cap_drop);
        set_list(&mut container.groups, &self.group);
        if !self.sysctl.is_empty() {
            container.sysctls = settings(&self.sysctl).map_err(CtlError::Usage)?.into_iter().collect();
        }
        if !self.ulimit.is_empty() {
            container.ulimits = self.ulimit.iter().map(|Limit(limit)| limit.clone()).collect();
        }
        container.pids_limit = self.limit_pids.unwrap_or(container.pids_limit);
        container.oom_score_adj = self.oom_score_adj.unwrap_or(container.oom_score_adj);
        if let Some(signal) = &self.stop_signal {
            container.stop_signal.clone_from(signal);
        }
        if !self.host.is_empty() {
            container.hosts = values(&self.host).map(host).collect::<Result<_, _>>().map_err(CtlError::Usage)?;
        }
        if !(self.dns.is_empty() && self.dns_search.is_empty() && self.dns_option.is_empty()) {
            let dns = container.dns_config.get_or_insert_default();
            set_list(&mut dns.nameservers, &self.dns);
            set_list(&mut dns.search, &self.dns_search);
            set_list(&mut dns.options, &self.dns_option);
        }
        Ok(())
    }
}

fn settings(flags: &[Csv]) -> Result<BTreeMap<String, String>, String> {
    let setting = |text: &str| {
        let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty())?;
        Some((name.to_owned(), value.to_owned()))
    };
    values(flags)
        .map(|text| setting(text).ok_or_else(|| format!("malformed setting {text:?}: expected NAME=VALUE")))
        .collect()
}

/// A line of the table of hosts begins with the address, which may have colons of its own.
fn host(text: &str) -> Result<String, String> {
    let parts = text.split_once(':').filter(|(name, address)| !name.is_empty() && !address.is_empty());
    let (name, address) = parts.ok_or_else(|| format!("malformed host {text:?}: expected NAME:ADDRESS"))?;
    Ok(format!("{address} {name}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: ContainerFlags,
    }

    fn applied(flags: &[&str], mut container: wire::ContainerSpec) -> Result<wire::ContainerSpec, String> {
        let line = Line::try_parse_from([&["x"], flags].concat()).map_err(|error| error.to_string())?;
        line.flags.apply(&mut container).map_err(|error| error.to_string())?;
        Ok(container)
    }

    #[test]
    fn what_surrounds_a_program_is_mapped_and_what_is_not_given_stays() {
        let flags = [
            "--read-only",
            "--init=false",
            "--no-new-privileges",
            "--cap-add=NET_ADMIN,CAP_KILL",
            "--cap-drop=ALL",
            "--group=33,logs",
            "--sysctl=kernel.msgmax=4096",
            "--ulimit=nofile=64:128",
            "--ulimit=core=-1",
            "--limit-pids=10",
            "--oom-score-adj=-5",
            "--stop-signal=SIGINT",
            "--host=db:10.0.0.1,six:::1",
            "--dns=1.1.1.1",
            "--dns-search=a.example",
        ];
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let limit = |name: &str, soft, hard| Ulimit { name: name.into(), soft, hard };
        let expected = wire::ContainerSpec {
            image: "x".into(),
            read_only: true,
            init: Some(false),
            privileges: Some(wire::Privileges { no_new_privileges: true, ..Default::default() }),
            capability_add: words(&["NET_ADMIN", "CAP_KILL"]),
            capability_drop: words(&["ALL"]),
            groups: words(&["33", "logs"]),
            sysctls: [("kernel.msgmax".to_owned(), "4096".to_owned())].into_iter().collect(),
            ulimits: vec![limit("nofile", 64, 128), limit("core", -1, -1)],
            pids_limit: 10,
            oom_score_adj: -5,
            stop_signal: "SIGINT".into(),
            hosts: words(&["10.0.0.1 db", "::1 six"]),
            dns_config: Some(wire::container_spec::DnsConfig {
                nameservers: words(&["1.1.1.1"]),
                search: words(&["a.example"]),
                ..Default::default()
            }),
            ..Default::default()
        };
        let bare = wire::ContainerSpec { image: "x".into(), ..Default::default() };
        assert_eq!(applied(&flags, bare).unwrap(), expected);
        assert_eq!(applied(&[], expected.clone()).unwrap(), expected);
        let writable = wire::ContainerSpec { read_only: false, ..expected.clone() };
        assert_eq!(applied(&["--read-only=false"], expected).unwrap(), writable);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let refusal = |flag| applied(&[flag], wire::ContainerSpec::default()).unwrap_err();
        assert!(refusal("--ulimit=nofile").contains("\"nofile\" is not NAME=SOFT[:HARD]"));
        assert!(refusal("--ulimit=nofile=a").contains("is not NAME=SOFT[:HARD]"));
        assert!(refusal("--oom-score-adj=1001").contains("1001 is not in -1000..=1000"));
        assert_eq!(refusal("--sysctl=x"), "malformed setting \"x\": expected NAME=VALUE");
        assert_eq!(refusal("--host=db"), "malformed host \"db\": expected NAME:ADDRESS");
    }
}
