//! `dump-wal`, `dump-snapshot` and `dump-object`: what the log and the snapshot say.

use clap::ValueEnum;
use prost::Message as _;
use serde_json::json;
use swarmkit_api::{AnyObject, Kind, Object};
use swarmkit_raft::{Content, Inspected, LogRecord, Member};
use swarmkit_store::{Stored, View};

use super::{
    Context, Format, RafttoolError,
    reflect::{self},
};

#[derive(Debug, clap::Args)]
pub(super) struct LogFlags {
    /// The first entry to show; 0 for the oldest
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    start: u64,

    /// The last entry to show; 0 for the newest
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    end: u64,

    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, clap::Args)]
pub(super) struct SnapshotFlags {
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, clap::Args)]
pub(super) struct ObjectFlags {
    /// Which kind of objects
    kind: ObjectKind,

    /// Only the object with this id
    #[arg(long, value_name = "ID")]
    id: Option<String>,

    /// Only objects with this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    #[command(flatten)]
    shown: Shown,
}

/// What is left out.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Shown {
    /// Hide keys, tokens, the content of secrets and configs, environments and registry credentials
    #[arg(long)]
    redact: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ObjectKind {
    Node,
    Service,
    Task,
    Network,
    Cluster,
    Secret,
    Config,
    Resource,
    Extension,
    Volume,
}

/// Shows the entries of a range. Damage in between is told, and ends in failure.
pub(super) async fn log(context: &mut Context<'_>, flags: LogFlags) -> Result<(), RafttoolError> {
    let (mut records, mut damage) = (Vec::new(), Vec::new());
    let end = if flags.end == 0 { u64::MAX } else { flags.end };
    let wanted =
        |record: &LogRecord| record.content.entry().is_some_and(|(_, index)| (flags.start..=end).contains(&index));
    let inspector = context.inspector.clone();
    let visit = |inspected| match inspected {
        Inspected::Record(record) if wanted(&record) => records.push(record),
        Inspected::Damage(finding) => damage.push(finding),
        _ => {}
    };
    inspector.log(visit).await?;
    for record in records {
        entry(context, record, flags.shown)?;
    }
    damage.into_iter().next().map_or(Ok(()), |finding| Err(swarmkit_raft::InspectError::from(finding).into()))
}

fn entry(context: &mut Context<'_>, record: LogRecord, shown: Shown) -> Result<(), RafttoolError> {
    let Some((term, index)) = record.content.entry() else { return Ok(()) };
    let place = json!({ "index": index, "term": term, "file": record.file, "offset": record.offset });
    let with = |kind: &str, key: &str, value: serde_json::Value| {
        let mut object = place.clone();
        object["type"] = kind.into();
        object[key] = value;
        object
    };
    let head = |kind| format!("Entry Index={index}, Term={term}, Type={kind}:\n");
    match record.content {
        Content::Membership { members, .. } => {
            let json = with("membership", "members", members.iter().map(member_json).collect());
            context.show(&json, || head("Membership") + &members.iter().map(member_line).collect::<String>() + "\n")
        }
        Content::Changes { payload, .. } => {
            let Some(mut message) = context.schema.read("InternalRaftRequest", &payload) else {
                let json = with("changes", "unreadable_bytes", payload.len().into());
                return context.show(&json, || head("Changes") + " unreadable\n\n");
            };
            if shown.redact {
                context.schema.redact(&mut message);
            }
            let json = with("changes", "request", reflect::json(&message));
            context.show(&json, || head("Changes") + &reflect::text(&message, 1) + "\n")
        }
        _ => context.show(&with("blank", "request", serde_json::Value::Null), || head("Blank") + "\n"),
    }
}

/// Shows what the newest snapshot holds.
pub(super) async fn snapshot(context: &mut Context<'_>, flags: SnapshotFlags) -> Result<(), RafttoolError> {
    let replayed = context.inspector.replay(false).await?;
    let snapshot = replayed.snapshot.ok_or(RafttoolError::Nothing("no snapshot found"))?;
    let json = json!({
        "file": snapshot.file,
        "index": snapshot.index,
        "term": snapshot.term,
        "members": snapshot.members.iter().map(member_json).collect::<Vec<_>>(),
    });
    context.show(&json, || {
        let members: String = snapshot.members.iter().map(member_line).collect();
        format!("Index={}, Term={}\n\nActive members:\n{members}\nObjects:\n", snapshot.index, snapshot.term)
    })?;
    for object in Kind::ALL.into_iter().flat_map(|kind| objects_of(&replayed.view, kind)) {
        show_object(context, &object, flags.shown)?;
    }
    Ok(())
}

/// Shows objects as they are after the whole log.
pub(super) async fn objects(context: &mut Context<'_>, flags: ObjectFlags) -> Result<(), RafttoolError> {
    let replayed = context.inspector.replay(true).await?;
    let kind = match flags.kind {
        ObjectKind::Node => Kind::Node,
        ObjectKind::Service => Kind::Service,
        ObjectKind::Task => Kind::Task,
        ObjectKind::Network => Kind::Network,
        ObjectKind::Cluster => Kind::Cluster,
        ObjectKind::Secret => Kind::Secret,
        ObjectKind::Config => Kind::Config,
        ObjectKind::Resource => Kind::Resource,
        ObjectKind::Extension => Kind::Extension,
        ObjectKind::Volume => Kind::Volume,
    };
    let mut objects = objects_of(&replayed.view, kind);
    objects.retain(|object| {
        flags.id.as_deref().is_none_or(|id| object.id() == id)
            && flags.name.as_deref().is_none_or(|name| name_of(object) == name)
    });
    if objects.is_empty() {
        return Err(RafttoolError::Nothing("no matching objects found"));
    }
    objects.iter().try_for_each(|object| show_object(context, object, flags.shown))
}

fn show_object(context: &mut Context<'_>, object: &AnyObject, shown: Shown) -> Result<(), RafttoolError> {
    let bytes = object.to_wire().encode_to_vec();
    let mut message = context.schema.read("Object", &bytes).expect("invariant: it was encoded just now");
    if shown.redact {
        context.schema.redact(&mut message);
    }
    let indent = usize::from(context.printer.format == Format::Text);
    context.show(&reflect::json(&message), || reflect::text(&message, indent) + "\n")
}

/// All objects of a kind, by id.
fn objects_of(view: &View, kind: Kind) -> Vec<AnyObject> {
    fn all<O: Stored>(view: &View) -> Vec<AnyObject> {
        view.all::<O>().map(|object| Object::into_any(object.clone())).collect()
    }
    match kind {
        Kind::Node => all::<swarmkit_api::Node>(view),
        Kind::Service => all::<swarmkit_api::Service>(view),
        Kind::Task => all::<swarmkit_api::Task>(view),
        Kind::Network => all::<swarmkit_api::Network>(view),
        Kind::Cluster => all::<swarmkit_api::Cluster>(view),
        Kind::Secret => all::<swarmkit_api::Secret>(view),
        Kind::Config => all::<swarmkit_api::Config>(view),
        Kind::Resource => all::<swarmkit_api::Resource>(view),
        Kind::Extension => all::<swarmkit_api::Extension>(view),
        Kind::Volume => all::<swarmkit_api::Volume>(view),
    }
}

/// The name in the annotations of an object; of a node without one, its host's.
fn name_of(object: &AnyObject) -> &str {
    let annotations = match object {
        AnyObject::Node(node) if node.annotations().name.is_empty() => {
            return node.description.as_ref().map_or("", |description| &description.hostname);
        }
        AnyObject::Node(object) => object.annotations(),
        AnyObject::Service(object) => object.annotations(),
        AnyObject::Task(object) => object.annotations(),
        AnyObject::Network(object) => object.annotations(),
        AnyObject::Cluster(object) => object.annotations(),
        AnyObject::Secret(object) => object.annotations(),
        AnyObject::Config(object) => object.annotations(),
        AnyObject::Resource(object) => object.annotations(),
        AnyObject::Extension(object) => object.annotations(),
        AnyObject::Volume(object) => object.annotations(),
    };
    &annotations.name
}

pub(super) fn member_json(member: &Member) -> serde_json::Value {
    json!({
        "node_id": member.node_id.as_str(),
        "raft_id": format!("{:x}", member.raft_id),
        "addr": member.addr,
        "voter": member.voter,
    })
}

fn member_line(member: &Member) -> String {
    let role = if member.voter { "" } else { ", learner" };
    format!(" NodeID={}, RaftID={:x}, Addr={}{role}\n", member.node_id, member.raft_id, member.addr)
}
