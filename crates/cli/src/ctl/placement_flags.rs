//! The flags that say which of the nodes that can run a task gets it.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use swarmkit_api::wire::{
    ClusterSpec, PlacementPreference, ServiceSpec, SpreadOver,
    placement_preference::Preference,
    swarmkit::scheduling::v1::{Affinity, ClusterScheduling, ServiceScheduling, Strategy, affinity::Direction},
};

use super::{
    CtlError,
    service_flags::{Csv, values},
};
use crate::{output::preferences, units::split_csv};

/// Those of a service. What is not given is left as it is.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct PlacementFlags {
    /// Spread tasks evenly over the values of a property of nodes, as spread=node.labels.zone; the second divides what the
    /// first has given; replaces all (repeat, or separate with commas)
    #[arg(long, value_name = "spread=PROPERTY")]
    placement_pref: Vec<Csv>,

    /// Which of the nodes that can run a task gets it: spread takes the one with the fewest tasks of the service, bin-pack
    /// the one that has the largest share reserved; inherit: as the cluster says
    #[arg(long, value_enum, value_name = "STRATEGY")]
    strategy: Option<OfService>,

    /// Service to be near to: on a node that runs a task of it, or on one that has the same value of a label; a wish unless
    /// required; replaces all (repeat)
    #[arg(long, value_name = "SERVICE[,scope=LABEL][,required]")]
    affinity: Vec<To>,

    /// Service to be apart from, which may be the service itself: not on a node that runs a task of it, or on one that has
    /// the same value of a label; a wish unless required; replaces all (repeat)
    #[arg(long, value_name = "SERVICE[,scope=LABEL][,required]")]
    anti_affinity: Vec<To>,
}

/// What an update takes away from a service.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct PlacementRemovals {
    /// Preference to take away, as it was given (repeat, or separate with commas)
    #[arg(long, value_name = "spread=PROPERTY")]
    rm_placement_pref: Vec<Csv>,

    /// Service that it wants to be near to no more, by name (repeat, or separate with commas)
    #[arg(long, value_name = "SERVICE")]
    rm_affinity: Vec<Csv>,

    /// Service that it wants to be apart from no more, by name (repeat, or separate with commas)
    #[arg(long, value_name = "SERVICE")]
    rm_anti_affinity: Vec<Csv>,
}

/// That of the cluster.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ClusterPlacement {
    /// Which of the nodes that can run a task gets it, of services that do not say: spread takes the one with the fewest
    /// tasks of the service, bin-pack the one that has the largest share reserved
    #[arg(long, value_enum, value_name = "STRATEGY")]
    strategy: Option<OfCluster>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OfService {
    Spread,
    BinPack,
    Inherit,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OfCluster {
    Spread,
    BinPack,
}

/// A service, how far the place goes, and whether it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct To {
    service: String,
    scope: String,
    required: bool,
}

impl FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = split_csv(text)?.into_iter();
        let service = words.next().filter(|name| !name.is_empty() && !name.contains('='));
        let service = service.ok_or("expected the name of a service first")?;
        let mut to = Self { service, scope: String::new(), required: false };
        for word in words {
            match word.split_once('=') {
                Some(("scope", label)) if !label.is_empty() => label.clone_into(&mut to.scope),
                None if word == "required" => to.required = true,
                _ => return Err(format!("expected scope=LABEL or required after the name, not {word:?}")),
            }
        }
        Ok(to)
    }
}

impl PlacementFlags {
    /// Puts what was given into a specification.
    pub(super) fn apply(&self, spec: &mut ServiceSpec) -> Result<(), CtlError> {
        if !self.placement_pref.is_empty() {
            let preferences = values(&self.placement_pref).map(preference).collect::<Result<_, _>>()?;
            spec.task.get_or_insert_default().placement.get_or_insert_default().preferences = preferences;
        }
        let strategy = self.strategy.map(|strategy| match strategy {
            OfService::Spread => Strategy::Spread,
            OfService::BinPack => Strategy::BinPack,
            OfService::Inherit => Strategy::Unset,
        });
        change(&mut spec.scheduling, |scheduling| {
            scheduling.strategy = strategy.map_or(scheduling.strategy, i32::from);
            for (direction, flags) in [(Direction::Near, &self.affinity), (Direction::Apart, &self.anti_affinity)] {
                if !flags.is_empty() {
                    scheduling.affinities.retain(|affinity| affinity.direction() != direction);
                    scheduling.affinities.extend(flags.iter().map(|to| to.in_direction(direction)));
                }
            }
        });
        Ok(())
    }
}

impl PlacementRemovals {
    /// Takes away what was named. What is not there cannot be taken away.
    pub(super) fn apply(&self, spec: &mut ServiceSpec) -> Result<(), CtlError> {
        for text in values(&self.rm_placement_pref) {
            let unwanted = preference(text)?;
            let task = spec.task.get_or_insert_default();
            let there = task.placement.as_mut().map(|placement| &mut placement.preferences);
            let taken = there.is_some_and(|there| retain(there, |preference| *preference != unwanted));
            if !taken {
                let has = preferences(task.placement.as_ref()).join(", ");
                return Err(CtlError::State(format!("the service has no preference {text}; it has: {has}")));
            }
        }
        for (direction, flags, what) in
            [(Direction::Near, &self.rm_affinity, "near to"), (Direction::Apart, &self.rm_anti_affinity, "apart from")]
        {
            for name in values(flags) {
                let is_it = |one: &Affinity| one.direction() == direction && one.service.eq_ignore_ascii_case(name);
                let mut taken = false;
                change(&mut spec.scheduling, |scheduling| {
                    taken = retain(&mut scheduling.affinities, |one| !is_it(one))
                });
                if !taken {
                    return Err(CtlError::State(format!("the service does not want to be {what} {name}")));
                }
            }
        }
        Ok(())
    }
}

impl ClusterPlacement {
    pub(super) fn apply(&self, spec: &mut ClusterSpec) {
        let strategy = self.strategy.map(|strategy| match strategy {
            OfCluster::Spread => Strategy::Spread,
            OfCluster::BinPack => Strategy::BinPack,
        });
        if let Some(strategy) = strategy {
            spec.scheduling = Some(ClusterScheduling { strategy: strategy.into() });
        }
    }
}

impl To {
    fn in_direction(&self, direction: Direction) -> Affinity {
        let Self { service, scope, required } = self.clone();
        Affinity { service, direction: direction.into(), scope, required }
    }
}

/// What says nothing any more is left out, as in a specification that never said anything.
fn change(scheduling: &mut Option<ServiceScheduling>, edit: impl FnOnce(&mut ServiceScheduling)) {
    let mut now = scheduling.take().unwrap_or_default();
    edit(&mut now);
    *scheduling = Some(now).filter(|now| *now != ServiceScheduling::default());
}

/// Whether anything was taken away.
fn retain<T>(list: &mut Vec<T>, keep: impl FnMut(&T) -> bool) -> bool {
    let before = list.len();
    list.retain(keep);
    list.len() < before
}

fn preference(text: &str) -> Result<PlacementPreference, CtlError> {
    match text.split_once('=') {
        Some(("spread", property)) if !property.is_empty() => {
            let spread = SpreadOver { spread_descriptor: property.to_owned() };
            Ok(PlacementPreference { preference: Some(Preference::Spread(spread)) })
        }
        _ => Err(CtlError::Usage(format!("malformed preference {text:?}: expected spread=PROPERTY"))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct OfAService {
        #[command(flatten)]
        flags: PlacementFlags,
        #[command(flatten)]
        removals: PlacementRemovals,
    }

    #[derive(Debug, Parser)]
    struct OfACluster {
        #[command(flatten)]
        flags: ClusterPlacement,
    }

    fn after(before: &ServiceSpec, flags: &[&str]) -> Result<ServiceSpec, String> {
        let mut spec = before.clone();
        let given = OfAService::try_parse_from(["x"].iter().chain(flags)).map_err(|error| error.to_string())?;
        given
            .flags
            .apply(&mut spec)
            .and_then(|()| given.removals.apply(&mut spec))
            .map_err(|error| error.to_string())?;
        Ok(spec)
    }

    fn affinities(spec: &ServiceSpec) -> Vec<(Direction, &str, &str, bool)> {
        let affinities = spec.scheduling.iter().flat_map(|scheduling| &scheduling.affinities);
        affinities.map(|one| (one.direction(), one.service.as_str(), one.scope.as_str(), one.required)).collect()
    }

    #[test]
    fn a_service_has_a_strategy_or_leaves_it_to_the_cluster() {
        let nothing = ServiceSpec::default();
        assert_eq!(after(&nothing, &[]).unwrap(), nothing);
        let packed = after(&nothing, &["--strategy", "bin-pack"]).unwrap();
        assert_eq!(packed.scheduling.as_ref().unwrap().strategy(), Strategy::BinPack);
        assert_eq!(after(&packed, &[]).unwrap(), packed);
        assert_eq!(after(&packed, &["--strategy", "inherit"]).unwrap(), nothing);
        let spread = after(&packed, &["--strategy", "spread"]).unwrap();
        assert_eq!(spread.scheduling.unwrap().strategy(), Strategy::Spread);
        assert!(after(&nothing, &["--strategy", "random"]).unwrap_err().contains("invalid value 'random'"));
    }

    #[test]
    fn affinities_name_a_service_a_scope_and_whether_they_have_to_hold() {
        let flags =
            ["--affinity", "db", "--affinity", "cache,scope=node.labels.zone", "--anti-affinity", "web,required"];
        let asked = after(&ServiceSpec::default(), &flags).unwrap();
        let (db, cache) = ((Direction::Near, "db", "", false), (Direction::Near, "cache", "node.labels.zone", false));
        let web = (Direction::Apart, "web", "", true);
        assert_eq!(affinities(&asked), [db, cache, web]);

        let both = (Direction::Apart, "web", "engine.labels.rack", true);
        let flags = ["--anti-affinity", "web,required,scope=engine.labels.rack"];
        assert_eq!(affinities(&after(&asked, &flags).unwrap()), [db, cache, both], "replaces those of its direction");
        assert_eq!(affinities(&after(&asked, &["--rm-affinity", "DB"]).unwrap()), [cache, web]);
        let flags = ["--rm-affinity", "db,cache", "--rm-anti-affinity", "web"];
        assert_eq!(after(&asked, &flags).unwrap(), ServiceSpec::default(), "what says nothing is left out");
        let why = after(&asked, &["--rm-anti-affinity", "db"]).unwrap_err();
        assert_eq!(why, "the service does not want to be apart from db");
    }

    #[test]
    fn what_is_no_affinity_is_refused() {
        for (flag, why) in [
            ("", "expected the name of a service first"),
            ("scope=node.labels.zone", "expected the name of a service first"),
            ("db,zone", "expected scope=LABEL or required after the name, not \"zone\""),
            ("db,scope=", "expected scope=LABEL or required after the name, not \"scope=\""),
        ] {
            let told = after(&ServiceSpec::default(), &["--affinity", flag]).unwrap_err();
            assert!(told.contains(why), "{flag}: {told}");
        }
    }

    #[test]
    fn preferences_are_replaced_and_taken_away_as_they_were_given() {
        let nothing = ServiceSpec { task: Some(Default::default()), ..Default::default() };
        let shown = |spec: &ServiceSpec| preferences(spec.task.as_ref().unwrap().placement.as_ref());
        let flags = ["--placement-pref", "spread=node.labels.zone,spread=node.hostname"];
        let asked = after(&nothing, &flags).unwrap();
        assert_eq!(shown(&asked), ["spread=node.labels.zone", "spread=node.hostname"]);
        assert_eq!(after(&asked, &[]).unwrap(), asked);
        let other = after(&asked, &["--placement-pref", "spread=engine.labels.rack"]).unwrap();
        assert_eq!(shown(&other), ["spread=engine.labels.rack"]);
        let fewer = after(&asked, &["--rm-placement-pref", "spread=node.labels.zone"]).unwrap();
        assert_eq!(shown(&fewer), ["spread=node.hostname"]);
        let why = after(&asked, &["--rm-placement-pref", "spread=node.id"]).unwrap_err();
        let has = "it has: spread=node.labels.zone, spread=node.hostname";
        assert_eq!(why, format!("the service has no preference spread=node.id; {has}"));
        let why = after(&asked, &["--placement-pref", "node.id"]).unwrap_err();
        assert_eq!(why, "malformed preference \"node.id\": expected spread=PROPERTY");
    }

    #[test]
    fn a_cluster_has_a_strategy() {
        let after = |flags: &[&str]| {
            let mut spec = ClusterSpec::default();
            OfACluster::parse_from(["x"].iter().chain(flags)).flags.apply(&mut spec);
            spec.scheduling.map(|scheduling| scheduling.strategy())
        };
        assert_eq!(after(&[]), None);
        assert_eq!(after(&["--strategy", "bin-pack"]), Some(Strategy::BinPack));
        assert_eq!(after(&["--strategy", "spread"]), Some(Strategy::Spread));
        let inherits = OfACluster::try_parse_from(["x", "--strategy", "inherit"]).unwrap_err().to_string();
        assert!(inherits.contains("invalid value 'inherit'"), "{inherits}");
    }
}
