//! Which of the nodes that can run a task gets it.

use swarmkit_api::wire::{
    Placement,
    placement_preference::Preference,
    swarmkit::scheduling::v1::{Affinity, ServiceScheduling, Strategy, affinity::Direction},
};

use super::Columns;

/// What a service says about it, if anything.
pub(super) fn fields(columns: &mut Columns, scheduling: Option<&ServiceScheduling>) {
    let Some(scheduling) = scheduling else { return };
    columns.field_if_any("Strategy", strategy(scheduling.strategy()).unwrap_or_default());
    let of = |wanted: Direction| {
        let affinities = scheduling.affinities.iter().filter(move |affinity| affinity.direction() == wanted);
        affinities.map(affinity).collect::<Vec<_>>().join(", ")
    };
    columns.field_if_any("Near To", of(Direction::Near));
    columns.field_if_any("Apart From", of(Direction::Apart));
}

/// The strategy as flags have it; `None` where nothing is said.
pub(super) fn strategy(strategy: Strategy) -> Option<&'static str> {
    match strategy {
        Strategy::Unset => None,
        Strategy::Spread => Some("spread"),
        Strategy::BinPack => Some("bin-pack"),
    }
}

/// The preferences of a service as flags have them.
pub(crate) fn preferences(placement: Option<&Placement>) -> Vec<String> {
    let preferences = placement.iter().flat_map(|placement| &placement.preferences);
    let shown = preferences.filter_map(|preference| match preference.preference.as_ref()? {
        Preference::Spread(spread) => Some(format!("spread={}", spread.spread_descriptor)),
    });
    shown.collect()
}

fn affinity(affinity: &Affinity) -> String {
    let scope = match affinity.scope.as_str() {
        "" => String::new(),
        label => format!(" by {label}"),
    };
    let required = if affinity.required { "required" } else { "wished" };
    format!("{}{scope} ({required})", affinity.service)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use swarmkit_api::wire::{Cluster, ClusterSpec, Service, swarmkit::scheduling::v1::ClusterScheduling};
    use swarmkit_testing::service;

    use super::*;
    use crate::output::{Names, inspect_cluster, inspect_service, json};

    fn shown(service: &Service) -> (Vec<String>, String) {
        let text = inspect_service(service, (0, 0), &[], &Names::ids_only(), SystemTime::UNIX_EPOCH);
        let is_meant = |line: &&str| {
            let titles = ["Strategy", "Near To", "Apart From", "Preferences"];
            titles.iter().any(|title| line.trim_start().starts_with(title))
        };
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        (text.lines().filter(is_meant).map(words).collect(), json::line(&json::Service::new(service, (0, 0))))
    }

    #[test]
    fn where_tasks_want_to_be_is_shown_where_a_service_says_so() {
        let plain = Service { spec: Some(service("web").build().spec.as_ref().clone()), ..Default::default() };
        let (lines, json) = shown(&plain);
        assert!(lines.is_empty(), "{lines:?}");
        assert!(json.contains(r#""strategy":null,"affinities":[],"preferences":[]"#), "{json}");

        let asked = service("web")
            .strategy(Strategy::BinPack)
            .must_be_near("db")
            .affinity("cache", Direction::Near, "node.labels.zone", false)
            .affinity("web", Direction::Apart, "engine.labels.rack", true)
            .spread_over("node.labels.zone")
            .spread_over("node.hostname");
        let asked = Service { spec: Some(asked.build().spec.as_ref().clone()), ..Default::default() };
        let (lines, json) = shown(&asked);
        assert_eq!(
            lines,
            [
                "Strategy : bin-pack",
                "Near To : db (required), cache by node.labels.zone (wished)",
                "Apart From : web by engine.labels.rack (required)",
                "Preferences : [spread=node.labels.zone, spread=node.hostname]",
            ]
        );
        let told =
            r#""strategy":"bin-pack","affinities":[{"service":"db","direction":"NEAR","scope":"","required":true},"#;
        assert!(json.contains(told), "{json}");
        let told = r#""preferences":["spread=node.labels.zone","spread=node.hostname"]"#;
        assert!(json.contains(told), "{json}");
    }

    #[test]
    fn the_strategy_of_a_cluster_is_shown_where_it_has_one() {
        let cluster = |strategy: Strategy| {
            let scheduling = Some(ClusterScheduling { strategy: strategy.into() });
            Cluster { spec: Some(ClusterSpec { scheduling, ..Default::default() }), ..Default::default() }
        };
        let told = |cluster: &Cluster| {
            (inspect_cluster(cluster, None).to_string(), json::line(&json::Cluster::new(cluster, None)))
        };
        let (text, json) = told(&cluster(Strategy::BinPack));
        assert!(text.contains("Scheduling settings:\n  Strategy: bin-pack\n"), "{text}");
        assert!(json.contains(r#""strategy":"bin-pack""#), "{json}");
        let (text, json) = told(&cluster(Strategy::Unset));
        assert!(!text.contains("Strategy"), "{text}");
        assert!(json.contains(r#""strategy":null"#), "{json}");
    }
}
