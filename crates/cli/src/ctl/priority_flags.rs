//! The flags that say which tasks make room for which.

use std::str::FromStr;

use clap::Args;
use swarmkit_api::wire::swarmkit::scheduling::v1::ServiceScheduling;

/// What is not given is left as it is.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct PriorityFlags {
    /// How important its tasks are: where there is no room for one, tasks of services with a lower number make some
    /// (others have 0); none: nobody makes room for it
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    priority: Option<OrNone<i32>>,

    /// How many of its tasks may be missing at a time while they make room for others; none: without limit
    #[arg(long, value_name = "N")]
    max_disrupted: Option<OrNone<u64>>,
}

/// A number, or that there shall be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OrNone<N>(Option<N>);

impl<N: FromStr<Err = std::num::ParseIntError>> FromStr for OrNone<N> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            number => number.parse().map(|number| Self(Some(number))).map_err(|why| format!("{why}, nor \"none\"")),
        }
    }
}

impl PriorityFlags {
    /// Puts what was given into what a service says about where its tasks go. What says nothing any more is left out.
    pub(super) fn apply(&self, wanted: &mut Option<ServiceScheduling>) {
        if self.priority.is_none() && self.max_disrupted.is_none() {
            return;
        }
        let mut now = wanted.take().unwrap_or_default();
        now.priority = self.priority.map_or(now.priority, |OrNone(priority)| priority);
        now.max_disrupted = self.max_disrupted.map_or(now.max_disrupted, |OrNone(tasks)| tasks);
        *wanted = Some(now).filter(|now| *now != ServiceScheduling::default());
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct OfService {
        #[command(flatten)]
        flags: PriorityFlags,
    }

    fn after(before: Option<ServiceScheduling>, flags: &[&str]) -> Option<ServiceScheduling> {
        let mut wanted = before;
        OfService::parse_from(["x"].iter().chain(flags)).flags.apply(&mut wanted);
        wanted
    }

    #[test]
    fn a_priority_is_set_changed_and_taken_away() {
        let of = |priority, max_disrupted| Some(ServiceScheduling { priority, max_disrupted, ..Default::default() });
        assert_eq!(after(None, &[]), None);
        assert_eq!(after(None, &["--priority", "10"]), of(Some(10), None));
        assert_eq!(after(None, &["--priority", "-5"]), of(Some(-5), None));
        assert_eq!(after(None, &["--priority", "0"]), of(Some(0), None), "which is something else than none");
        assert_eq!(after(of(Some(10), None), &["--max-disrupted", "0"]), of(Some(10), Some(0)));
        assert_eq!(after(of(Some(10), Some(2)), &["--priority", "none"]), of(None, Some(2)));
        assert_eq!(after(of(Some(10), Some(2)), &["--max-disrupted", "none"]), of(Some(10), None));
        assert_eq!(after(of(None, Some(2)), &["--max-disrupted", "none"]), None);
        assert_eq!(after(of(Some(10), Some(2)), &[]), of(Some(10), Some(2)));
    }

    #[test]
    fn what_else_a_service_says_about_where_its_tasks_go_is_left_as_it_is() {
        use swarmkit_api::wire::swarmkit::scheduling::v1::Strategy;
        let said = ServiceScheduling { strategy: Strategy::BinPack.into(), ..Default::default() };
        let with = ServiceScheduling { priority: Some(1), ..said.clone() };
        assert_eq!(after(Some(said.clone()), &["--priority", "1"]), Some(with.clone()));
        assert_eq!(after(Some(with), &["--priority", "none"]), Some(said));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for flags in [["--priority", "high"], ["--priority", "3000000000"], ["--max-disrupted", "few"]] {
            let refused = OfService::try_parse_from(["x"].iter().chain(&flags)).unwrap_err().to_string();
            assert!(refused.contains("nor \"none\""), "{refused}");
        }
    }
}
