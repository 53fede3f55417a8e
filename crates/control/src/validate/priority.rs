//! How important the tasks of a service are, and how many of them may be missing while they make room for others.

use swarmkit_api::wire::ServiceSpec;

use super::{Checked, service::count};

/// Every priority is one; of the tasks that may be missing there are none fewer than none.
pub(super) fn priority(spec: &ServiceSpec) -> Checked {
    let max_disrupted = spec.scheduling.as_ref().and_then(|scheduling| scheduling.max_disrupted);
    count("Number of disrupted tasks", max_disrupted.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use swarmkit_api::wire::swarmkit::scheduling::v1::ServiceScheduling;

    use super::*;

    fn check(asked: Option<i32>, max_disrupted: Option<u64>) -> Result<(), String> {
        let scheduling = ServiceScheduling { priority: asked, max_disrupted, ..Default::default() };
        let spec = ServiceSpec { scheduling: Some(scheduling), ..Default::default() };
        priority(&spec).map_err(|error| error.to_string())
    }

    #[test]
    fn every_priority_is_one_and_no_fewer_than_no_task_may_be_missing() {
        for asked in [None, Some(i32::MIN), Some(-1), Some(0), Some(i32::MAX)] {
            assert_eq!(check(asked, None), Ok(()));
            assert_eq!(check(asked, Some(0)), Ok(()));
            assert_eq!(check(asked, Some(i64::MAX as u64)), Ok(()));
            let refused = "Number of disrupted tasks must be non-negative".to_owned();
            assert_eq!(check(asked, Some(u64::MAX)), Err(refused));
        }
        assert_eq!(priority(&ServiceSpec::default()).map_err(|error| error.to_string()), Ok(()));
    }
}
