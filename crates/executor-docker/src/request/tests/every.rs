//! Every field: each one changes what is asked for, or is refused, or says here whose it is. A new one does not compile.

use swarmkit_api::wire::{
    Annotations, ConfigReference, DiscreteGenericResource, Driver, Endpoint, FileTarget, GenericResource, HealthConfig,
    IpamConfig, IpamOptions, Mount, Network, NetworkAttachment, NetworkSpec, Placement, Platform, PortConfig,
    Privileges, ResourceRequirements, Resources, SecretReference, VolumeAttachment, config_reference,
    container_spec::{DnsConfig, PullOptions, Ulimit},
    generic_resource::Resource,
    ipam_config::AddressFamily,
    mount::{BindOptions, TmpfsOptions, Type, VolumeOptions, bind_options::Propagation},
    network_spec::ConfigFrom,
    port_config::{Protocol, PublishMode},
    privileges::{
        AppArmorOpts, CredentialSpec, SeLinuxContext, SeccompOpts, app_armor_opts::AppArmorMode,
        credential_spec::Source, seccomp_opts::SeccompMode,
    },
    secret_reference,
};

use super::*;
use crate::files::TaskFile;

/// What becomes of a task: what the engine is asked for, and the files that are written.
fn outcome(task: &Task) -> Result<(Request, Vec<TaskFile>), String> {
    let request = request(task, NEW).map_err(|error| error.to_string())?;
    let files = files::of(super::super::container_of(task).expect("it is a container"), Path::new("/shelf/t1"));
    Ok((request, files.expect("the request has them too")))
}

/// Checks each field of a message: with another value than in `base` something else is asked for.
macro_rules! every {
    ($name:ident in $put:expr, from $base:expr; $($field:ident: $value:expr),* $(,)? $(; elsewhere $($other:ident: $whose:literal),* $(,)?)?) => {{
        let base: $name = $base;
        let before = outcome(&$put(base.clone()));
        assert!(before.is_ok(), "{}: {before:?}", stringify!($name));
        $({
            let mut changed = base.clone();
            changed.$field = $value;
            assert_ne!(outcome(&$put(changed)), before, "{}.{} is dropped", stringify!($name), stringify!($field));
        })*
        let $name { $($field: _,)* $($($other: _,)*)? } = base;
        $($(assert!(!$whose.is_empty());)*)?
    }};
}

fn driver(name: &str) -> Driver {
    Driver { name: name.into(), options: pairs("a") }
}

fn pairs(name: &str) -> std::collections::BTreeMap<String, String> {
    [(name.to_owned(), "b".to_owned())].into()
}

fn annotations(name: &str) -> Annotations {
    Annotations { name: name.into(), labels: pairs("l"), indices: Vec::new() }
}

fn container(container: ContainerSpec) -> Task {
    task(container, TaskSpec::default())
}

fn mounted(mount: Mount) -> Task {
    container(ContainerSpec { mounts: vec![mount], ..plain() })
}

fn mount(kind: Type) -> Mount {
    let source = if kind == Type::Tmpfs { "" } else { "/srv" };
    Mount { r#type: kind.into(), source: source.into(), target: "/data".into(), ..Default::default() }
}

fn privileged(privileges: Privileges) -> Task {
    container(ContainerSpec { privileges: Some(privileges), ..plain() })
}

fn attached(attachment: NetworkAttachment) -> Task {
    Task { networks: vec![attachment], ..container(plain()) }
}

fn network(network: Network) -> Task {
    attached(NetworkAttachment { network: Some(network), ..Default::default() })
}

fn back() -> Network {
    let spec = NetworkSpec { annotations: Some(annotations("back")), ..Default::default() };
    Network { id: "net1".into(), spec: Some(spec), driver_state: Some(driver("bridge")), ..Default::default() }
}

#[test]
fn every_field_of_a_task_has_an_effect_or_is_somebody_elses() {
    let device = swarmkit_api::wire::NamedGenericResource { kind: "dev".into(), value: "/dev/zero".into() };
    let port = PortConfig { target_port: 80, publish_mode: PublishMode::Host.into(), ..Default::default() };
    let volume = ContainerSpec { mounts: vec![mount(Type::Cluster)], ..plain() };
    let attachment = |id: &str| VolumeAttachment { id: id.into(), source: "/srv".into(), target: "/data".into() };
    let base = Task { volumes: vec![attachment("v1")], ..container(volume) };
    every!(Task in std::convert::identity, from base;
        id: TaskId::from("t2"),
        spec: TaskSpec { runtime: Some(Runtime::Container(plain())), ..Default::default() }.into(),
        service_id: Some("s1".into()),
        slot: 3,
        node_id: Some("n1".into()),
        annotations: annotations("mine"),
        service_annotations: annotations("other").into(),
        networks: vec![NetworkAttachment { network: Some(back()), ..Default::default() }],
        endpoint: Some(Endpoint { ports: vec![port], ..Default::default() }.into()),
        log_driver: Some(driver("local")),
        assigned_generic_resources: vec![GenericResource { resource: Some(Resource::NamedResourceSpec(device)) }],
        volumes: vec![attachment("v2")];
        elsewhere
        meta: "the store's",
        spec_version: "the orchestrator's",
        status: "the agent's",
        desired_state: "the agent's",
        job_iteration: "the orchestrator's",
        origin: "the orchestrator's",
        preemption: "the scheduler's",
    );
    let platforms = vec![Platform { os: "linux".into(), architecture: "arm64".into() }];
    let limits = Some(Resources { memory_bytes: 1 << 20, ..Default::default() });
    every!(TaskSpec in |spec: TaskSpec| Task { spec: spec.into(), ..container(plain()) },
        from TaskSpec { runtime: Some(Runtime::Container(plain())), ..Default::default() };
        resources: Some(ResourceRequirements { limits, ..Default::default() }),
        placement: Some(Placement { platforms, ..Default::default() }),
        log_driver: Some(driver("local")),
        runtime: Some(Runtime::Attachment(wire::NetworkAttachmentSpec::default()));
        elsewhere
        restart: "the orchestrator's",
        networks: "the allocator's, but for addresses in networks of the node, which are asked for in a test of their own",
        force_update: "the orchestrator's",
        resource_references: "the dispatcher's",
    );
}

#[test]
fn every_field_of_a_container_has_an_effect() {
    let reference = || "1".to_owned();
    let file = |name: &str| FileTarget { name: name.into(), ..Default::default() };
    let target = |name: &str| Some(secret_reference::Target::File(file(name)));
    let secret = SecretReference { secret_id: reference(), secret_name: reference(), target: None };
    let config = ConfigReference { config_id: reference(), config_name: reference(), target: None };
    every!(ContainerSpec in container, from plain();
        image: "other".into(),
        labels: pairs("l"),
        command: strings(&["sh"]),
        args: strings(&["-v"]),
        hostname: "h".into(),
        env: strings(&["A=b"]),
        dir: "/srv".into(),
        user: "joe".into(),
        groups: strings(&["audio"]),
        privileges: Some(Privileges { no_new_privileges: true, ..Default::default() }),
        init: Some(false),
        tty: true,
        open_stdin: true,
        read_only: true,
        stop_signal: "SIGINT".into(),
        mounts: vec![mount(Type::Volume)],
        stop_grace_period: duration(3000),
        pull_options: Some(PullOptions { registry_auth: "e30=".into() }),
        secrets: vec![secret.clone()],
        configs: vec![config.clone()],
        hosts: strings(&["10.0.0.1 a"]),
        dns_config: Some(DnsConfig { nameservers: strings(&["10.0.0.1"]), ..Default::default() }),
        healthcheck: Some(HealthConfig { retries: 1, ..Default::default() }),
        isolation: 1,
        pids_limit: 9,
        sysctls: pairs("s"),
        capability_add: strings(&["CAP_CHOWN"]),
        capability_drop: strings(&["ALL"]),
        ulimits: vec![Ulimit::default()],
        oom_score_adj: 9,
    );
    every!(SecretReference in |secret| container(ContainerSpec { secrets: vec![secret], ..plain() }), from secret;
        secret_id: "2".into(),
        secret_name: "2".into(),
        target: target("f"),
    );
    every!(ConfigReference in |config| container(ContainerSpec { configs: vec![config], ..plain() }), from config;
        config_id: "2".into(),
        config_name: "2".into(),
        target: Some(config_reference::Target::File(file("f"))),
    );
    let secret_file = |file| {
        let target = Some(secret_reference::Target::File(file));
        let secrets = vec![SecretReference { secret_id: reference(), secret_name: reference(), target }];
        container(ContainerSpec { secrets, ..plain() })
    };
    every!(FileTarget in secret_file, from file("f"); name: "g".into(), uid: "1".into(), gid: "1".into(), mode: 0o400,);
    every!(DnsConfig in |dns| container(ContainerSpec { dns_config: Some(dns), ..plain() }), from DnsConfig::default();
        nameservers: strings(&["10.0.0.1"]),
        search: strings(&["a"]),
        options: strings(&["ndots:1"]),
    );
    every!(Ulimit in |limit| container(ContainerSpec { ulimits: vec![limit], ..plain() }), from Ulimit::default();
        name: "core".into(),
        soft: 1,
        hard: 1,
    );
    every!(HealthConfig in |check| container(ContainerSpec { healthcheck: Some(check), ..plain() }),
        from HealthConfig::default();
        test: strings(&["NONE"]),
        interval: duration(1),
        timeout: duration(1),
        retries: 1,
        start_period: duration(1),
        start_interval: duration(1),
    );
}

#[test]
fn every_field_of_a_mount_has_an_effect() {
    every!(Mount in mounted, from mount(Type::Bind);
        r#type: Type::Volume.into(),
        source: "/other".into(),
        target: "/other".into(),
        readonly: true,
        consistency: 1,
        bind_options: Some(BindOptions { nonrecursive: true, ..Default::default() }),
        volume_options: Some(VolumeOptions::default()),
        tmpfs_options: Some(TmpfsOptions::default()),
    );
    let bind = |options| mounted(Mount { bind_options: Some(options), ..mount(Type::Bind) });
    every!(BindOptions in bind, from BindOptions::default();
        propagation: Propagation::Rshared.into(),
        nonrecursive: true,
        createmountpoint: true,
        readonlynonrecursive: true,
        readonlyforcerecursive: true,
    );
    let volume = |options| mounted(Mount { volume_options: Some(options), ..mount(Type::Volume) });
    every!(VolumeOptions in volume, from VolumeOptions::default();
        nocopy: true,
        labels: pairs("l"),
        driver_config: Some(driver("nfs")),
        subpath: "a".into(),
    );
    let tmpfs = |options| mounted(Mount { tmpfs_options: Some(options), ..mount(Type::Tmpfs) });
    for options in ["", "noexec"] {
        let base = TmpfsOptions { options: options.into(), ..Default::default() };
        every!(TmpfsOptions in tmpfs, from base; size_bytes: 4096, mode: 0o700, options: "exec".into(),);
        let with = |mount| Mount {
            tmpfs_options: Some(TmpfsOptions { options: options.into(), ..Default::default() }),
            ..mount
        };
        every!(Mount in |mount| mounted(with(mount)), from mount(Type::Tmpfs);
            r#type: Type::Bind.into(),
            source: "/other".into(),
            target: "/other".into(),
            readonly: true,
            consistency: 1,
            bind_options: Some(BindOptions::default()),
            volume_options: Some(VolumeOptions::default());
            elsewhere tmpfs_options: "above",
        );
    }
    every!(Driver in |driver| volume(VolumeOptions { driver_config: Some(driver), ..Default::default() }),
        from Driver::default();
        name: "nfs".into(),
        options: pairs("o"),
    );
    let cluster = |mount| {
        let volumes = vec![VolumeAttachment { id: "v1".into(), source: "/srv".into(), target: "/data".into() }];
        Task { volumes, ..mounted(mount) }
    };
    every!(Mount in cluster, from mount(Type::Cluster);
        r#type: Type::Volume.into(),
        source: "other".into(),
        target: "/other".into(),
        readonly: true,
        consistency: 1,
        bind_options: Some(BindOptions::default()),
        volume_options: Some(VolumeOptions::default()),
        tmpfs_options: Some(TmpfsOptions::default()),
    );
}

#[test]
fn every_field_of_privileges_and_of_limits_has_an_effect_or_is_somebody_elses() {
    let seccomp = SeccompOpts { mode: SeccompMode::Unconfined.into(), ..Default::default() };
    every!(Privileges in privileged, from Privileges::default();
        credential_spec: Some(CredentialSpec { source: Some(Source::File("f".into())) }),
        selinux_context: Some(SeLinuxContext { disable: true, ..Default::default() }),
        seccomp: Some(seccomp),
        apparmor: Some(AppArmorOpts { mode: AppArmorMode::Disabled.into() }),
        no_new_privileges: true,
    );
    every!(SeLinuxContext in |context| privileged(Privileges { selinux_context: Some(context), ..Default::default() }),
        from SeLinuxContext::default();
        disable: true,
        user: "a".into(),
        role: "a".into(),
        r#type: "a".into(),
        level: "a".into(),
    );
    let custom = SeccompOpts { mode: SeccompMode::Custom.into(), profile: b"{}".to_vec().into() };
    every!(SeccompOpts in |seccomp| privileged(Privileges { seccomp: Some(seccomp), ..Default::default() }), from custom;
        mode: SeccompMode::Default.into(),
        profile: b"[]".to_vec().into(),
    );
    let limited = |resources| {
        let runtime = Some(Runtime::Container(plain()));
        Task {
            spec: TaskSpec { resources: Some(resources), runtime, ..Default::default() }.into(),
            ..container(plain())
        }
    };
    let limits = Resources { memory_bytes: 1 << 20, ..Default::default() };
    every!(ResourceRequirements in limited, from ResourceRequirements { limits: Some(limits.clone()), ..Default::default() };
        limits: None,
        swap_bytes: Some(0),
        memory_swappiness: Some(0);
        elsewhere reservations: "the scheduler's",
    );
    let count = DiscreteGenericResource { kind: "licence".into(), value: 2 };
    every!(Resources in |limits| limited(ResourceRequirements { limits: Some(limits), ..Default::default() }), from limits;
        nano_cpus: 5,
        memory_bytes: 2 << 20,
        generic: vec![GenericResource { resource: Some(Resource::DiscreteResourceSpec(count)) }],
    );
}

#[test]
fn every_field_of_a_network_or_a_port_has_an_effect_or_is_somebody_elses() {
    every!(NetworkAttachment in attached, from NetworkAttachment { network: Some(back()), ..Default::default() };
        network: None,
        addresses: strings(&["10.0.0.4/24"]),
        aliases: strings(&["a"]),
        driver_attachment_opts: pairs("o"),
    );
    let pool = || IpamConfig { subnet: "10.0.0.0/24".into(), ..Default::default() };
    let ipam = || IpamOptions { driver: None, configs: vec![pool()] };
    every!(Network in network, from back();
        id: "net2".into(),
        spec: Some(NetworkSpec { annotations: Some(annotations("front")), ..Default::default() }),
        driver_state: Some(driver("macvlan")),
        ipam: Some(ipam());
        elsewhere
        meta: "the store's",
        pending_delete: "the managers'",
        extra: "the managers'",
        waiting: "the managers'",
    );
    let specified = |spec| network(Network { spec: Some(spec), ..back() });
    every!(NetworkSpec in specified, from NetworkSpec { annotations: Some(annotations("back")), ..Default::default() };
        annotations: Some(annotations("front")),
        driver_config: Some(Driver { options: pairs("parent"), ..Default::default() }),
        ipv6_enabled: true,
        internal: true,
        ipam: Some(ipam()),
        config_from: Some(ConfigFrom::Network("lan".into()));
        elsewhere
        attachable: "the managers': who may attach what is no task",
        ingress: "the managers': only networks that span nodes are",
    );
    every!(IpamOptions in |ipam| network(Network { ipam: Some(ipam), ..back() }), from ipam();
        driver: Some(driver("other")),
        configs: Vec::new(),
    );
    every!(IpamConfig in |pool| network(Network { ipam: Some(IpamOptions { driver: None, configs: vec![pool] }), ..back() }),
        from pool();
        subnet: "10.0.1.0/24".into(),
        range: "10.0.0.0/25".into(),
        gateway: "10.0.0.9".into(),
        reserved: pairs("r");
        elsewhere family: "said by the subnet too",
    );
    assert_eq!(AddressFamily::Ipv4 as i32, 4, "the family is the one that subnets show");
    let published = |port| {
        let endpoint = Endpoint { ports: vec![port], ..Default::default() };
        Task { endpoint: Some(endpoint.into()), ..container(plain()) }
    };
    let port = PortConfig { target_port: 80, publish_mode: PublishMode::Host.into(), ..Default::default() };
    every!(PortConfig in published, from port.clone();
        protocol: Protocol::Udp.into(),
        target_port: 81,
        published_port: 8080,
        publish_mode: PublishMode::Ingress.into();
        elsewhere name: "for people",
    );
    every!(Endpoint in |endpoint: Endpoint| Task { endpoint: Some(endpoint.into()), ..container(plain()) },
        from Endpoint::default();
        ports: vec![port];
        elsewhere
        spec: "the service's",
        virtual_ips: "the service's",
    );
}
