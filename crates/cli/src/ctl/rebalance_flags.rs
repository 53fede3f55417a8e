//! The flags that say whether tasks are moved to nodes that have fewer of them.

use clap::{Args, ValueEnum};
use swarmkit_api::wire::swarmkit::orchestration::v1::{Rebalance, rebalance};

/// Those of a service. What is not given is left as it is.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ServiceRebalance {
    /// Whether tasks are moved to nodes that have at least two fewer, such as ones that join; inherit: as the cluster says
    #[arg(long, value_enum, value_name = "WHETHER")]
    rebalance: Option<Whether>,

    /// How many tasks of the service may be moved in any minute; 0 for the default, 10
    #[arg(long, value_name = "N")]
    rebalance_rate: Option<u32>,
}

/// Those of the cluster.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ClusterRebalance {
    /// Whether tasks are moved to nodes that have at least two fewer, of replicated services that do not say
    #[arg(long, value_enum, value_name = "WHETHER")]
    rebalance: Option<OnOff>,

    /// How many tasks of all services may be moved in any minute; 0 for the default, 10
    #[arg(long, value_name = "N")]
    rebalance_rate: Option<u32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Whether {
    On,
    Off,
    Inherit,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnOff {
    On,
    Off,
}

impl ServiceRebalance {
    pub(super) fn apply(&self, wanted: &mut Option<Rebalance>) {
        let mode = self.rebalance.map(|whether| match whether {
            Whether::On => rebalance::Mode::On,
            Whether::Off => rebalance::Mode::Off,
            Whether::Inherit => rebalance::Mode::Unset,
        });
        set(wanted, mode, self.rebalance_rate);
    }
}

impl ClusterRebalance {
    pub(super) fn apply(&self, wanted: &mut Option<Rebalance>) {
        let mode = self.rebalance.map(|whether| match whether {
            OnOff::On => rebalance::Mode::On,
            OnOff::Off => rebalance::Mode::Off,
        });
        set(wanted, mode, self.rebalance_rate);
    }
}

/// What says nothing any more is left out, as in a specification that never said anything.
fn set(wanted: &mut Option<Rebalance>, mode: Option<rebalance::Mode>, rate: Option<u32>) {
    if mode.is_none() && rate.is_none() {
        return;
    }
    let mut now = wanted.unwrap_or_default();
    now.mode = mode.map_or(now.mode, i32::from);
    now.moves_per_minute = rate.unwrap_or(now.moves_per_minute);
    *wanted = Some(now).filter(|now| *now != Rebalance::default());
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct OfService {
        #[command(flatten)]
        flags: ServiceRebalance,
    }

    #[derive(Debug, Parser)]
    struct OfCluster {
        #[command(flatten)]
        flags: ClusterRebalance,
    }

    fn on_service(before: Option<Rebalance>, flags: &[&str]) -> Option<Rebalance> {
        let mut wanted = before;
        OfService::parse_from(["x"].iter().chain(flags)).flags.apply(&mut wanted);
        wanted
    }

    fn rebalance(mode: rebalance::Mode, moves_per_minute: u32) -> Option<Rebalance> {
        Some(Rebalance { mode: mode.into(), moves_per_minute })
    }

    #[test]
    fn a_service_says_yes_or_no_or_leaves_it_to_the_cluster() {
        assert_eq!(on_service(None, &[]), None);
        assert_eq!(on_service(None, &["--rebalance", "on"]), rebalance(rebalance::Mode::On, 0));
        let given = rebalance(rebalance::Mode::On, 3);
        assert_eq!(on_service(None, &["--rebalance", "on", "--rebalance-rate", "3"]), given);
        assert_eq!(on_service(given, &["--rebalance", "off"]), rebalance(rebalance::Mode::Off, 3));
        assert_eq!(on_service(given, &["--rebalance", "inherit"]), rebalance(rebalance::Mode::Unset, 3));
        assert_eq!(on_service(given, &["--rebalance-rate", "7"]), rebalance(rebalance::Mode::On, 7));
        assert_eq!(on_service(given, &["--rebalance", "inherit", "--rebalance-rate", "0"]), None);
        assert_eq!(on_service(given, &[]), given);
    }

    #[test]
    fn a_cluster_says_yes_or_no() {
        let mut wanted = None;
        OfCluster::parse_from(["x", "--rebalance", "on", "--rebalance-rate", "20"]).flags.apply(&mut wanted);
        assert_eq!(wanted, rebalance(rebalance::Mode::On, 20));
        OfCluster::parse_from(["x", "--rebalance", "off"]).flags.apply(&mut wanted);
        assert_eq!(wanted, rebalance(rebalance::Mode::Off, 20));
        let inherits = OfCluster::try_parse_from(["x", "--rebalance", "inherit"]).unwrap_err().to_string();
        assert!(inherits.contains("invalid value 'inherit'"), "{inherits}");
    }
}
