//! The flags that change the settings of a cluster, and what each does to them.

use std::time::Duration;

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use swarmkit_api::wire::{self, swarmkit::exec::v1::exec_settings::Policy};

use super::{
    CtlError,
    placement_flags::ClusterPlacement,
    rebalance_flags::ClusterRebalance,
    service_flags::{Csv, values},
};
use crate::{
    external_ca::parse_external_ca,
    units::{parse_duration, to_wire_duration},
};

/// What is not given is left as it is.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ClusterFlags {
    /// How many old tasks are kept for each slot; negative for all of them
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    taskhistory: Option<i64>,

    /// How long certificates of nodes last, at least 1h; 2160h in a new cluster
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    certexpiry: Option<Duration>,

    /// Who signs certificates in place of the cluster, as protocol=cfssl,url=URL[,cacert=FILE]; replaces all (repeat)
    ///
    /// cacert is the root that it signs for, by default the present one.
    #[arg(long, value_name = "AUTHORITY", value_parser = parse_external_ca)]
    external_ca: Vec<wire::ExternalCa>,

    /// Let the cluster sign all certificates itself
    #[arg(long, conflicts_with = "external_ca")]
    no_external_ca: bool,

    /// How often agents tell that they are alive
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    heartbeatperiod: Option<Duration>,

    /// Log driver of tasks that name none; an empty name takes it away
    #[arg(long, value_name = "NAME")]
    log_driver: Option<String>,

    /// Option of that log driver, as key=value; replaces all (repeat, or separate with commas)
    #[arg(long, value_name = "KEY=VALUE")]
    log_opt: Vec<Csv>,

    /// Replace the join token of a role
    #[arg(long, value_name = "ROLE", value_enum, ignore_case = true)]
    rotate_join_token: Vec<Role>,

    /// Replace the key that managers need after a restart, and show the new one
    #[arg(long)]
    rotate_unlock_key: bool,

    /// Lock the keys of managers on disk, so that a manager needs the unlock key after a restart
    #[arg(long, value_name = "BOOL", value_parser = BoolishValueParser::new())]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    autolock: Option<bool>,

    /// Whether commands may be run in tasks, and tasks be attached to
    #[arg(long, value_name = "POLICY", value_enum)]
    exec: Option<ExecPolicy>,

    #[command(flatten)]
    rebalance: ClusterRebalance,

    #[command(flatten)]
    placement: ClusterPlacement,
}

/// Whether commands may be run in tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExecPolicy {
    Allow,
    Deny,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    Worker,
    Manager,
}

impl ClusterFlags {
    /// Puts what was given into the settings.
    pub(super) fn apply(&self, spec: &mut wire::ClusterSpec) -> Result<(), CtlError> {
        if let Some(limit) = self.taskhistory {
            spec.orchestration.get_or_insert_default().task_history_retention_limit = limit;
        }
        if let Some(expiry) = self.certexpiry {
            spec.ca_config.get_or_insert_default().node_cert_expiry = Some(to_wire_duration(expiry));
        }
        if self.no_external_ca || !self.external_ca.is_empty() {
            spec.ca_config.get_or_insert_default().external_cas.clone_from(&self.external_ca);
        }
        if let Some(period) = self.heartbeatperiod {
            spec.dispatcher.get_or_insert_default().heartbeat_period = Some(to_wire_duration(period));
        }
        if let Some(locked) = self.autolock {
            spec.encryption_config.get_or_insert_default().auto_lock_managers = locked;
        }
        if let Some(policy) = self.exec {
            let policy = match policy {
                ExecPolicy::Allow => Policy::Allow,
                ExecPolicy::Deny => Policy::Deny,
            };
            spec.exec.get_or_insert_default().policy = policy.into();
        }
        let mut rebalance = spec.orchestration.as_ref().and_then(|orchestration| orchestration.rebalance);
        let before = rebalance;
        self.rebalance.apply(&mut rebalance);
        if rebalance != before {
            spec.orchestration.get_or_insert_default().rebalance = rebalance;
        }
        self.placement.apply(spec);
        self.apply_log_driver(spec)
    }

    fn apply_log_driver(&self, spec: &mut wire::ClusterSpec) -> Result<(), CtlError> {
        if let Some(name) = &self.log_driver {
            let driver = wire::Driver { name: name.clone(), ..Default::default() };
            spec.task_defaults.get_or_insert_default().log_driver = Some(driver).filter(|_| !name.is_empty());
        }
        if self.log_opt.is_empty() {
            return Ok(());
        }
        let driver = spec.task_defaults.as_mut().and_then(|defaults| defaults.log_driver.as_mut());
        let driver = driver.ok_or_else(|| CtlError::Usage("--log-opt needs a --log-driver".to_owned()))?;
        // A bare key has an empty value, as upstream.
        let pair = |text: &str| {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            (key.to_owned(), value.to_owned())
        };
        driver.options = values(&self.log_opt).map(pair).collect();
        Ok(())
    }

    /// What is to be replaced.
    pub(super) fn rotation(&self) -> wire::KeyRotation {
        wire::KeyRotation {
            worker_join_token: self.rotate_join_token.contains(&Role::Worker),
            manager_join_token: self.rotate_join_token.contains(&Role::Manager),
            manager_unlock_key: self.rotate_unlock_key,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::ctl::{Args, Command as Top, cluster::Command};

    fn parsed(flags: &[&str]) -> Result<ClusterFlags, String> {
        let line = ["swarmctl", "cluster", "update"].iter().chain(flags);
        match Args::try_parse_from(line).map_err(|error| error.to_string())?.command {
            Top::Cluster(Command::Update { flags, cluster, .. }) => {
                assert_eq!(cluster, "default");
                Ok(flags)
            }
            other => panic!("{other:?}"),
        }
    }

    /// What the flags make of settings.
    fn changed(spec: &wire::ClusterSpec, flags: &[&str]) -> wire::ClusterSpec {
        let mut spec = spec.clone();
        parsed(flags).unwrap().apply(&mut spec).unwrap();
        spec
    }

    fn used() -> wire::ClusterSpec {
        let driver = wire::Driver { name: "syslog".into(), options: [("tag".into(), "a".into())].into() };
        wire::ClusterSpec {
            annotations: Some(wire::Annotations { name: "default".into(), ..Default::default() }),
            orchestration: Some(wire::OrchestrationConfig { task_history_retention_limit: 5, ..Default::default() }),
            dispatcher: Some(wire::DispatcherConfig { heartbeat_period: seconds(5) }),
            ca_config: Some(wire::CaConfig { node_cert_expiry: seconds(7200), force_rotate: 3, ..Default::default() }),
            task_defaults: Some(wire::TaskDefaults { log_driver: Some(driver) }),
            encryption_config: Some(wire::EncryptionConfig { auto_lock_managers: true }),
            ..Default::default()
        }
    }

    fn seconds(seconds: i64) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos: 0 })
    }

    #[test]
    fn what_is_not_given_stays_the_log_driver_included() {
        assert_eq!(changed(&used(), &[]), used());
        assert_eq!(changed(&used(), &["--rotate-unlock-key"]), used());
    }

    #[test]
    fn each_flag_changes_its_own_setting() {
        let with = |change: &dyn Fn(&mut wire::ClusterSpec)| {
            let mut spec = used();
            change(&mut spec);
            spec
        };
        let driver = |name: &str, options: &[(&str, &str)]| {
            let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            Some(wire::Driver { name: name.to_owned(), options })
        };
        let logging = |driver: Option<wire::Driver>| {
            with(&move |spec| spec.task_defaults.as_mut().unwrap().log_driver.clone_from(&driver))
        };
        let locked = |locked| {
            with(&move |spec| spec.encryption_config = Some(wire::EncryptionConfig { auto_lock_managers: locked }))
        };
        for (flags, expected) in [
            (
                &["--taskhistory", "-1"][..],
                with(&|spec| spec.orchestration.as_mut().unwrap().task_history_retention_limit = -1),
            ),
            (&["--certexpiry", "1h"], with(&|spec| spec.ca_config.as_mut().unwrap().node_cert_expiry = seconds(3600))),
            (
                &["--heartbeatperiod", "9s"],
                with(&|spec| spec.dispatcher.as_mut().unwrap().heartbeat_period = seconds(9)),
            ),
            (&["--log-driver", "fluentd"], logging(driver("fluentd", &[]))),
            (
                &["--log-driver", "fluentd", "--log-opt", "a=b,bare"],
                logging(driver("fluentd", &[("a", "b"), ("bare", "")])),
            ),
            (&["--log-opt", "a=b=c"], logging(driver("syslog", &[("a", "b=c")]))),
            (&["--log-driver", ""], logging(None)),
            (
                &["--rebalance", "on", "--rebalance-rate", "3"],
                with(&|spec| {
                    let mode = wire::swarmkit::orchestration::v1::rebalance::Mode::On.into();
                    let rebalance = wire::swarmkit::orchestration::v1::Rebalance { mode, moves_per_minute: 3 };
                    spec.orchestration.as_mut().unwrap().rebalance = Some(rebalance);
                }),
            ),
            (
                &["--strategy", "bin-pack"],
                with(&|spec| {
                    let strategy = wire::swarmkit::scheduling::v1::Strategy::BinPack.into();
                    spec.scheduling = Some(wire::swarmkit::scheduling::v1::ClusterScheduling { strategy });
                }),
            ),
            (&["--autolock"], locked(true)),
            (&["--autolock=true"], locked(true)),
            (&["--autolock=false"], locked(false)),
        ] {
            assert_eq!(changed(&used(), flags), expected, "{flags:?}");
        }
        let first = changed(&wire::ClusterSpec::default(), &["--autolock"]);
        assert!(first.encryption_config.unwrap().auto_lock_managers);
    }

    #[test]
    fn authorities_outside_are_replaced_all_at_once_or_taken_away() {
        let urls = |spec: &wire::ClusterSpec| {
            let known = &spec.ca_config.as_ref().unwrap().external_cas;
            known.iter().map(|authority| authority.url.clone()).collect::<Vec<_>>()
        };
        let two = ["--external-ca", "protocol=cfssl,url=https://a", "--external-ca", "protocol=cfssl,url=https://b"];
        let spec = changed(&used(), &two);
        assert_eq!(urls(&spec), ["https://a", "https://b"]);
        assert_eq!(spec.ca_config.as_ref().unwrap().force_rotate, 3, "the rest stays");
        assert_eq!(changed(&spec, &["--taskhistory", "5"]), spec);
        assert_eq!(urls(&changed(&spec, &["--external-ca", "protocol=cfssl,url=https://c"])), ["https://c"]);
        assert_eq!(changed(&spec, &["--no-external-ca"]), used());
        assert!(parsed(&["--external-ca", "url=https://c"]).unwrap_err().contains("needs a protocol="));
        assert!(parsed(&["--no-external-ca", "--external-ca", "protocol=cfssl,url=https://c"]).is_err());
    }

    #[test]
    fn tokens_and_the_unlock_key_are_replaced_when_asked_for() {
        let rotation = |flags: &[&str]| {
            let rotation = parsed(flags).unwrap().rotation();
            (rotation.worker_join_token, rotation.manager_join_token, rotation.manager_unlock_key)
        };
        assert_eq!(rotation(&[]), (false, false, false));
        assert_eq!(rotation(&["--rotate-join-token", "Worker"]), (true, false, false));
        assert_eq!(rotation(&["--rotate-join-token", "manager"]), (false, true, false));
        let both = ["--rotate-join-token", "worker", "--rotate-join-token", "MANAGER", "--rotate-unlock-key"];
        assert_eq!(rotation(&both), (true, true, true));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (flags, expected) in [
            (&["--rotate-join-token", "leader"][..], "invalid value 'leader'"),
            (&["--autolock=perhaps"], "invalid value 'perhaps'"),
            (&["--certexpiry", "1d"], "expected a duration"),
            (&["--taskhistory", "many"], "invalid value 'many'"),
        ] {
            let told = parsed(flags).unwrap_err();
            assert!(told.contains(expected), "{flags:?}: {told}");
        }
        let told = parsed(&["--log-opt", "a=b"]).unwrap().apply(&mut wire::ClusterSpec::default()).unwrap_err();
        assert_eq!(told.to_string(), "--log-opt needs a --log-driver");
    }
}
