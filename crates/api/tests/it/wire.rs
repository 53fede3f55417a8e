//! `proto/` against two tables of facts: what peers of the wire send and expect, row by row, both ways.
//!
//! The tables hold what existing clients and workers were built from. A difference in either direction is a wire that
//! some of them would misread, so it fails even where both sides of this project agree.
use std::collections::BTreeSet;
use std::path::Path;

use prost_reflect::{Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use swarmkit_api::access::{self, Caller};

const MESSAGES: &str = include_str!("../data/messages.tsv");
const SERVICES: &str = include_str!("../data/services.tsv");
const PACKAGE: &str = "docker.swarmkit.v1";

/// Scalar lists that go unpacked. Either form is read by everybody, but bytes equal to those of other writers need this.
const UNPACKED: [&str; 6] = [
    "ClusterSnapshot.removed",
    "JoinResponse.removed_members",
    "ListNodesRequest.Filters.memberships",
    "ListNodesRequest.Filters.roles",
    "ListTasksRequest.Filters.desired_states",
    "LogSubscriptionOptions.streams",
];

/// Where the numbers of this project begin.
const OUR_NUMBERS: u32 = 57_000;

/// Fields of this project in messages of the wire. Their numbers are beyond those of the wire, and peers skip what they do
/// not know. What each is for is said beside it in `proto/`.
const OURS: [&str; 27] = [
    "Cluster.network_keys_rotated_at",
    "ClusterSpec.exec",
    "ClusterSpec.scheduling",
    "IssueNodeCertificateRequest.returning",
    "Meta.created_version",
    "Network.waiting",
    "NodeStatus.down_since",
    "OrchestrationConfig.rebalance",
    "RemoveNetworkRequest.deferred",
    "RemoveServiceRequest.deferred",
    "RestartPolicy.max_delay",
    "RestartPolicy.stable_after",
    "Service.decided_until",
    "Service.runs",
    "Service.waiting",
    "ServiceSpec.depends_on",
    "ServiceSpec.job_limits",
    "ServiceSpec.rebalance",
    "ServiceSpec.schedule",
    "ServiceSpec.scheduling",
    "Task.origin",
    "Task.preemption",
    "TaskStatus.running_since",
    "UpdateConfig.max_unavailable",
    "UpdateConfig.progress_deadline",
    "UpdateStatus.started_version",
    "Volume.waiting",
];

pub(crate) fn proto() -> DescriptorPool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root.join("docker/swarmkit/v1")).expect("the folder of the wire") {
        files.push(entry.expect("an entry").path());
    }
    files.sort();
    let mut compiler = protox::Compiler::new([root]).expect("a compiler");
    compiler.include_imports(true).open_files(files).expect("proto/ compiles");
    compiler.descriptor_pool()
}

/// The rows of a table as sets of cells, without its header.
fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table.lines().skip(1).map(|line| line.split('\t').map(str::trim).collect())
}

fn expect_same(what: &str, table: &BTreeSet<String>, proto: &BTreeSet<String>) {
    let missing: Vec<_> = table.difference(proto).map(|row| format!("  not in proto/:     {row}")).collect();
    let foreign: Vec<_> = proto.difference(table).map(|row| format!("  not in the table:  {row}")).collect();
    assert!(missing.is_empty() && foreign.is_empty(), "{what}\n{}", [missing, foreign].concat().join("\n"));
}

/// A name as the tables write it: without the package, if it is that of the wire.
fn relative(full_name: &str) -> String {
    full_name.strip_prefix(PACKAGE).and_then(|name| name.strip_prefix('.')).unwrap_or(full_name).to_owned()
}

fn messages(pool: &DescriptorPool) -> impl Iterator<Item = MessageDescriptor> {
    pool.all_messages().filter(|message| message.package_name() == PACKAGE && !message.is_map_entry())
}

fn enums(pool: &DescriptorPool) -> impl Iterator<Item = EnumDescriptor> {
    pool.all_enums().filter(|kind| kind.package_name() == PACKAGE)
}

fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => relative(message.full_name()),
        Kind::Enum(kind) => relative(kind.full_name()),
        scalar => format!("{scalar:?}"),
    }
}

fn is_ours(message: &MessageDescriptor, field: &FieldDescriptor) -> bool {
    let ours = OURS.contains(&format!("{}.{}", relative(message.full_name()), field.name()).as_str());
    assert!(!ours || field.number() >= OUR_NUMBERS, "{} could be taken for one of the wire", field.full_name());
    ours
}

fn field_row(message: &MessageDescriptor, field: &FieldDescriptor) -> String {
    let kind = field.kind();
    let type_name = match &kind {
        Kind::Message(entry) if field.is_map() => {
            let (key, value) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
            format!("map<{}, {}>", kind_name(&key), kind_name(&value))
        }
        kind if field.is_list() => format!("repeated {}", kind_name(kind)),
        kind => kind_name(kind),
    };
    let deprecated = field.field_descriptor_proto().options.as_ref().is_some_and(|options| options.deprecated());
    let note = match field.containing_oneof() {
        Some(oneof) => format!("oneof {}", oneof.name()),
        None if deprecated => "deprecated".to_owned(),
        None => String::new(),
    };
    assert_ne!(field.cardinality(), Cardinality::Required, "proto3 has none");
    [&relative(message.full_name()), &field.number().to_string(), field.name(), &type_name, &note].join(" | ")
}

#[test]
fn every_field_has_the_name_number_type_label_and_oneof_of_the_table() {
    let pool = proto();
    let mut of_proto = BTreeSet::new();
    for message in messages(&pool) {
        if message.fields().len() == 0 {
            of_proto.insert(format!("{} |  |  | (no fields) | ", relative(message.full_name())));
        }
        let of_the_wire = message.fields().filter(|field| !is_ours(&message, field));
        of_proto.extend(of_the_wire.map(|field| field_row(&message, &field)));
    }
    let of_table: BTreeSet<_> =
        rows(MESSAGES).filter(|row| row[0] == "message").map(|row| row[1..].join(" | ")).collect();
    assert!(of_table.len() > 700, "the table was read");
    expect_same("fields differ", &of_table, &of_proto);
}

#[test]
fn every_value_of_every_enum_has_the_number_of_the_table() {
    let pool = proto();
    let of_proto: BTreeSet<_> = enums(&pool)
        .flat_map(|kind| {
            let name = relative(kind.full_name());
            kind.values().map(|value| format!("{name} | {} | {}", value.number(), value.name())).collect::<Vec<_>>()
        })
        .collect();
    let of_table: BTreeSet<_> =
        rows(MESSAGES).filter(|row| row[0] == "enum").map(|row| row[1..4].join(" | ")).collect();
    assert!(of_table.len() > 120, "the table was read");
    expect_same("values differ", &of_table, &of_proto);
}

#[test]
fn every_method_has_the_messages_streams_and_callers_of_the_table() {
    let pool = proto();
    let mut of_proto = BTreeSet::new();
    for service in pool.services().filter(|service| service.package_name() == PACKAGE) {
        for method in service.methods() {
            let stream = |streams: bool| if streams { "stream " } else { "" };
            let row = access::method(&format!("/{}/{}", service.full_name(), method.name())).expect("a generated row");
            assert_eq!(row.client_streaming, method.is_client_streaming(), "{}", row.path);
            assert_eq!(row.server_streaming, method.is_server_streaming(), "{}", row.path);
            let deprecated =
                method.method_descriptor_proto().options.as_ref().is_some_and(|options| options.deprecated());
            of_proto.insert(
                [
                    service.name().to_owned(),
                    method.name().to_owned(),
                    format!("{}{}", stream(method.is_client_streaming()), relative(method.input().full_name())),
                    format!("{}{}", stream(method.is_server_streaming()), relative(method.output().full_name())),
                    row.callers.iter().map(Caller::to_string).collect::<Vec<_>>().join(","),
                    if deprecated { "deprecated".to_owned() } else { String::new() },
                ]
                .join(" | "),
            );
        }
    }
    let of_table: BTreeSet<_> = rows(SERVICES)
        .map(|row| {
            let callers = if row[5].starts_with("insecure") { "anyone" } else { row[5] };
            [row[1], row[2], row[3], row[4], callers, row[6]].join(" | ")
        })
        .collect();
    assert!(of_table.len() > 60, "the table was read");
    expect_same("methods differ", &of_table, &of_proto);
}

#[test]
fn the_scalar_lists_that_others_write_unpacked_are_unpacked() {
    let pool = proto();
    let unpacked: BTreeSet<_> = messages(&pool)
        .flat_map(|message| message.fields().collect::<Vec<_>>())
        .filter(|field| {
            field.field_descriptor_proto().options.as_ref().is_some_and(|options| options.packed == Some(false))
        })
        .map(|field| relative(field.full_name()))
        .collect();
    expect_same("packing differs", &UNPACKED.map(String::from).into(), &unpacked);
}
