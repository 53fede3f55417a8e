//! Every method of every service, called by everybody who might, over real TLS.
//!
//! What is expected comes from the table of the wire and from the rules as they are told here, not from the code that decides.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, future::join_all, stream};
use http::uri::PathAndQuery;
use swarmkit_api::{NodeRole, access};
use swarmkit_ca::{Credentials, Identity, RootCa, SystemKeys};
use swarmkit_manager::ManagerConfig;
use swarmkit_rpc::{Channel, ConnectError, ServerRole, TlsTransport, connect_unix};
use tonic::{Code, Request, Status, client::Grpc, metadata::AsciiMetadataKey};
use tonic_prost::ProstCodec;

use crate::{
    callers::{LOCAL, REMOTE, UNSERVED},
    world::{Machine, Running, add_manager, add_worker, identity, in_time},
};

/// The services of the wire, and who may call them.
const SERVICES: &str = include_str!("../../../api/tests/data/services.tsv");
const WORKER: &str = "swarm-worker";
const MANAGER: &str = "swarm-manager";
/// The cluster of all machines here.
const OURS: &str = "c";
/// How many methods are called at a time.
const AT_ONCE: usize = 8;

/// One method, and whom the table lets call it: nobody in particular means anybody.
struct Row {
    method: &'static access::Method,
    roles: Vec<String>,
}

/// The methods of the wire with the callers of its table, and ours with those that they were declared with. One that is added
/// is in here by itself, since servers know no others.
fn rows() -> Vec<Row> {
    let table: BTreeMap<(&str, &str), &str> = SERVICES
        .lines()
        .skip(1)
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .map(|row| ((row[1], row[2]), row[5]))
        .collect();
    let declared =
        |method: &access::Method| method.callers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let row = |method: &'static access::Method| {
        let (package, service) = method.service.rsplit_once('.').unwrap();
        let callers = match package {
            "docker.swarmkit.v1" => table[&(service, method.method)].to_owned(),
            _ => declared(method),
        };
        let roles = callers.split(',').filter(|role| role.starts_with("swarm-")).map(str::to_owned).collect();
        Row { method, roles }
    };
    let rows: Vec<_> = access::methods().iter().map(row).collect();
    assert!(rows.len() > table.len(), "all of the wire, and ours");
    rows
}

/// What a caller counts as.
enum Counts {
    /// As the holder of a role, or as one who lacks a certificate that counts, for the reason given: `{}` are the roles that may
    /// call.
    Direct { role: &'static str, unless: Option<&'static str> },
    /// As one for whom a manager vouches.
    Vouched { role: &'static str, unless: Option<&'static str> },
    /// As one who passes on what it may not.
    Impostor(&'static str),
}

impl Counts {
    /// How a method is refused, unless it is served.
    fn refusal(&self, row: &Row) -> Option<String> {
        let listed = format!("[{}]", row.roles.join(" "));
        let is_open = row.roles.is_empty();
        let may = |role: &str| role.split(' ').any(|role| row.roles.iter().any(|listed| listed == role));
        let direct = "Permission denied: unauthorized peer role: rpc error: code = PermissionDenied desc = ";
        let forwarder = "Permission denied: unauthorized forwarder role: rpc error: code = PermissionDenied desc = ";
        match self {
            Self::Impostor(reason) => Some(format!("{forwarder}{reason}")),
            _ if is_open => None,
            Self::Direct { role: "", unless } => Some(format!("{direct}{}", unless.unwrap())),
            Self::Direct { role, .. } if !may(role) => {
                Some(format!("{direct}Permission denied: remote certificate not part of OUs: {listed}"))
            }
            Self::Direct { unless, .. } => unless.map(|reason| format!("{direct}Permission denied: {reason}")),
            Self::Vouched { role: "", unless } => Some(format!("Permission denied: {}", unless.unwrap())),
            Self::Vouched { role, .. } if !may(role) => {
                Some(format!("Permission denied: unauthorized forwarded role, expecting: {listed}"))
            }
            Self::Vouched { unless, .. } => unless.map(|reason| format!("Permission denied: {reason}")),
        }
    }
}

struct Caller {
    name: String,
    channel: Channel,
    headers: Vec<(&'static str, &'static str)>,
    counts: Counts,
}

/// What a manager says of somebody for whom it vouches.
fn vouching(node: &'static str, cluster: &'static str, role: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![
        ("forwarded_cert", "true"),
        ("forwarded_cert_cn", node),
        ("forwarded_cert_org", cluster),
        ("forwarded_cert_ou", role),
        ("remote_addr", "10.1.2.3:4"),
        ("redirect", "10.1.2.3:4"),
    ]
}

/// Calls a method with one empty message, whatever it takes, and looks at how the answer begins.
async fn call(caller: &Caller, method: &'static access::Method) -> Result<(), Status> {
    let mut client = Grpc::new(caller.channel.clone());
    client.ready().await.unwrap();
    let mut request = Request::new(stream::iter([()]));
    for (name, value) in &caller.headers {
        request.metadata_mut().append(AsciiMetadataKey::from_static(name), value.parse().unwrap());
    }
    let codec = ProstCodec::<(), ()>::default();
    in_time(client.streaming(request, PathAndQuery::from_static(method.path), codec)).await.map(drop)
}

/// Whether the gate has refused, and not the service behind it.
fn is_of_the_gate(status: &Status) -> bool {
    let texts = ["unauthorized peer role", "unauthorized forwarder", "unauthorized forwarded", "missing information"];
    let others = ["organization mismatch, expecting: ", "node gone"];
    let texts = texts.iter().chain(&others).map(|text| format!("Permission denied: {text}"));
    status.code() == Code::PermissionDenied && texts.into_iter().any(|text| status.message().starts_with(&text))
}

/// Whether the server has no such service.
fn is_unknown(status: &Status) -> bool {
    status.code() == Code::Unimplemented && status.message().starts_with("unknown method")
}

/// A caller's whole row of the matrix: what is wrong with it.
async fn findings(caller: &Caller, served: &[&str], rows: &[Row]) -> Vec<String> {
    let tried = stream::iter(rows).map(async |row| {
        let (path, answer) = (row.method.path, call(caller, row.method).await);
        let short = row.method.service.rsplit('.').next().unwrap();
        let refusal = caller.counts.refusal(row);
        let expected = if !served.contains(&short) {
            answer.as_ref().is_err_and(is_unknown)
        } else {
            match (&refusal, &answer) {
                (Some(text), Err(status)) => is_of_the_gate(status) && status.message() == text,
                (Some(_), Ok(())) => false,
                (None, Err(status)) => !is_of_the_gate(status) && !is_unknown(status),
                (None, Ok(())) => true,
            }
        };
        (!expected).then(|| format!("{} calls {path}: {answer:?} instead of {refusal:?}", caller.name))
    });
    let findings = tried.buffered(AT_ONCE).filter_map(std::future::ready).collect().await;
    assert!(caller.channel.is_open(), "{} has got all of its answers", caller.name);
    findings
}

/// A manager on a real port, and those who connect to it.
pub(crate) struct Place {
    pub(crate) machine: Machine,
    pub(crate) manager: Running,
    pub(crate) callers: crate::world::Callers,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let machine = Machine::new(swarmkit_testing::env());
        let transport = std::sync::Arc::new(TlsTransport::new(machine.credentials().clone()));
        let listen_remote = "127.0.0.1:0".to_owned();
        let config = ManagerConfig { transport, listen_remote, ..machine.config(machine.first()) };
        let manager = Running::start(config).await.unwrap();
        manager.ready().await;
        let callers = machine.callers();
        Self { machine, manager, callers }
    }

    pub(crate) fn address(&self) -> &str {
        self.manager.handle.addr()
    }

    fn shown(&self, identity: &Identity) -> Credentials {
        Credentials::new(
            self.machine.root.without_signer(),
            self.machine.certificate(&self.machine.root, identity),
            &self.machine.env,
        )
        .unwrap()
    }

    pub(crate) async fn connect(&self, identity: &Identity) -> Channel {
        let transport = TlsTransport::new(self.shown(identity));
        self.callers.dial(&transport, self.address(), ServerRole::Manager).await.unwrap()
    }

    pub(crate) async fn stranger(&self) -> Channel {
        let transport = TlsTransport::joining(&self.machine.root, &self.machine.env).unwrap();
        self.callers.dial(&transport, self.address(), ServerRole::Authority).await.unwrap()
    }

    /// Removes nodes that were there, and waits until their certificates do not count any more.
    async fn remove(&self, names: &[&str]) {
        for name in names {
            let remove = swarmkit_api::wire::RemoveNodeRequest { node_id: (*name).to_owned(), force: true };
            self.manager.control().remove_node(remove).await.unwrap();
            let channel = self.connect(&identity(name, NodeRole::Manager)).await;
            let counts = Counts::Direct { role: "", unless: None };
            let caller = Caller { name: (*name).to_owned(), channel, headers: Vec::new(), counts };
            let health = access::method("/docker.swarmkit.v1.Health/Check").unwrap();
            in_time(async {
                while !call(&caller, health).await.is_err_and(|status| is_of_the_gate(&status)) {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
    }

    /// Everybody who might call.
    async fn everybody(&self) -> Vec<Caller> {
        let foreign = |name: &str, role| Identity::new(name.into(), role, "theirs".into());
        let (worker, manager) = (NodeRole::Worker, NodeRole::Manager);
        let direct = |role, unless| Counts::Direct { role, unless };
        let vouched = |role, unless| Counts::Vouched { role, unless };
        let nobody = Some("no client certificates in request");
        let theirs = Some("remote certificate not part of organization: c");
        let gone = |name| {
            Some(if name == WORKER {
                "node gone-w was removed from swarm"
            } else {
                "node gone-m was removed from swarm"
            })
        };
        let missing = Some("missing information in forwarded request");
        let mismatch = Some("organization mismatch, expecting: c");
        let not_a_manager = "Permission denied: remote certificate not part of OUs: [swarm-manager]";

        let m2 = self.connect(&identity("m2", manager)).await;
        let w = self.connect(&identity("w", worker)).await;
        let stranger = self.stranger().await;
        let connect = async |identity: Identity| self.connect(&identity).await;
        let mut doubled = vouching("w", OURS, WORKER);
        doubled.push(("forwarded_cert", "true"));
        let mut two_roles = vouching("w", OURS, WORKER);
        two_roles.push(("forwarded_cert_ou", MANAGER));
        let plain = Vec::new;
        let without = |part: &'static str| -> Vec<_> {
            vouching("w", OURS, WORKER).into_iter().filter(|(name, _)| *name != part).collect()
        };
        let hop = || vec![("redirect", "10.1.2.3:4")];
        let all = [
            ("nobody", stranger.clone(), plain(), direct("", nobody)),
            ("a worker", w.clone(), plain(), direct(WORKER, None)),
            ("a manager", m2.clone(), plain(), direct(MANAGER, None)),
            ("a manager that is in no store", connect(identity("m9", manager)).await, plain(), direct(MANAGER, None)),
            ("a worker of another cluster", connect(foreign("w", worker)).await, plain(), direct(WORKER, theirs)),
            ("a manager of another cluster", connect(foreign("m2", manager)).await, plain(), direct(MANAGER, theirs)),
            ("a removed worker", connect(identity("gone-w", worker)).await, plain(), direct(WORKER, gone(WORKER))),
            ("a removed manager", connect(identity("gone-m", manager)).await, plain(), direct(MANAGER, gone(MANAGER))),
            ("a worker with the mark of a hop", w.clone(), hop(), direct(WORKER, None)),
            ("a manager with the mark of a hop", m2.clone(), hop(), direct(MANAGER, None)),
            ("nobody, passed on", m2.clone(), vouching("", "", ""), vouched("", missing)),
            ("a worker, passed on", m2.clone(), vouching("w", OURS, WORKER), vouched(WORKER, None)),
            ("a manager, passed on", m2.clone(), vouching("m2", OURS, MANAGER), vouched(MANAGER, None)),
            ("one in no store, passed on", m2.clone(), vouching("m9", OURS, MANAGER), vouched(MANAGER, None)),
            ("a foreign worker, passed on", m2.clone(), vouching("w", "theirs", WORKER), vouched(WORKER, mismatch)),
            ("a foreign manager, passed on", m2.clone(), vouching("m2", "theirs", MANAGER), vouched(MANAGER, mismatch)),
            (
                "a removed worker, passed on",
                m2.clone(),
                vouching("gone-w", OURS, WORKER),
                vouched(WORKER, gone(WORKER)),
            ),
            (
                "a removed manager, passed on",
                m2.clone(),
                vouching("gone-m", OURS, MANAGER),
                vouched(MANAGER, gone(MANAGER)),
            ),
            ("one with two roles, passed on", m2.clone(), two_roles, vouched("swarm-worker swarm-manager", None)),
            (
                "one with a role that is none, passed on",
                m2.clone(),
                vouching("w", OURS, "admin"),
                vouched("admin", None),
            ),
            ("no name, passed on", m2.clone(), without("forwarded_cert_cn"), vouched("", missing)),
            ("no cluster, passed on", m2.clone(), without("forwarded_cert_org"), vouched("", missing)),
            ("no role, passed on", m2.clone(), without("forwarded_cert_ou"), vouched("", missing)),
            ("a manager that says it twice", m2.clone(), doubled, direct(MANAGER, None)),
            ("a manager that does not say it", m2.clone(), without("forwarded_cert"), direct(MANAGER, None)),
            ("a worker that passes on", w.clone(), vouching("m2", OURS, MANAGER), Counts::Impostor(not_a_manager)),
            (
                "nobody who passes on",
                stranger,
                vouching("m2", OURS, MANAGER),
                Counts::Impostor("no client certificates in request"),
            ),
            (
                "a foreign manager that passes on",
                connect(foreign("m2", manager)).await,
                vouching("w", OURS, WORKER),
                Counts::Impostor("Permission denied: remote certificate not part of organization: c"),
            ),
            (
                "a removed manager that passes on",
                connect(identity("gone-m", manager)).await,
                vouching("w", OURS, WORKER),
                Counts::Impostor("Permission denied: node gone-m was removed from swarm"),
            ),
        ];
        let caller = |(name, channel, headers, counts): (&str, _, _, _)| Caller {
            name: name.to_owned(),
            channel,
            headers,
            counts,
        };
        all.into_iter().map(caller).collect()
    }
}

#[tokio::test]
async fn every_method_is_open_to_those_whom_the_table_lists_and_to_nobody_else() {
    let place = Place::new().await;
    let store = place.manager.store();
    for name in ["w", "gone-w"] {
        add_worker(store, name).await;
    }
    for name in ["m2", "gone-m"] {
        add_manager(store, name).await;
    }
    place.remove(&["gone-w", "gone-m"]).await;
    let rows = rows();
    let services: BTreeSet<_> = rows.iter().map(|row| row.method.service.rsplit('.').next().unwrap()).collect();
    let known: BTreeSet<_> = REMOTE.into_iter().chain(UNSERVED).collect();
    assert_eq!(services, known, "each service is served or is known not to be");

    let mut wrong = Vec::new();
    for caller in place.everybody().await {
        wrong.extend(findings(&caller, &REMOTE, &rows).await);
    }
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));

    // On the control socket everybody is this manager, whatever the headers say.
    let env = &place.machine.env;
    let socket = place.manager.handle.control_socket().to_owned();
    let local = connect_unix(&socket, env, &place.callers.spawner()).await.unwrap();
    let said = [Vec::new(), vouching("gone-w", "theirs", WORKER), vouching("", "", "")];
    for headers in said {
        let counts = Counts::Direct { role: MANAGER, unless: None };
        let caller = Caller { name: "the control socket".to_owned(), channel: local.clone(), headers, counts };
        for row in &rows {
            let answer = call(&caller, row.method).await;
            let is_served = LOCAL.contains(&row.method.service.rsplit('.').next().unwrap());
            let refused = answer.as_ref().is_err_and(is_of_the_gate);
            let unknown = answer.as_ref().is_err_and(is_unknown);
            assert!(!refused && unknown != is_served, "{}: {answer:?}", row.method.path);
        }
    }
    in_time(place.manager.end()).await.unwrap();
    in_time(place.callers.hang_up()).await;
}

#[tokio::test]
async fn a_certificate_of_another_root_does_not_get_as_far_as_a_call() {
    let place = Place::new().await;
    let env = &place.machine.env;
    let other = RootCa::create(&SystemKeys, env).unwrap();
    let both = format!("{}{}", place.machine.root.bundle(), other.bundle());
    let both = RootCa::from_pem(&both, env.now()).unwrap();
    let roles = [NodeRole::Worker, NodeRole::Manager];
    let refused = join_all(roles.map(async |role| {
        let certificate = place.machine.certificate(&other, &identity("m2", role));
        let transport = TlsTransport::new(Credentials::new(both.clone(), certificate, env).unwrap());
        place.callers.dial(&transport, place.address(), ServerRole::Manager).await.unwrap_err()
    }))
    .await;
    for error in refused {
        assert!(matches!(error, ConnectError::Tls { .. }), "{error}");
    }
    in_time(place.manager.end()).await.unwrap();
    in_time(place.callers.hang_up()).await;
}
