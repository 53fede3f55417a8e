//! `verify`: reads everything, and says what is damaged and where.

use std::collections::BTreeMap;

use serde_json::json;
use swarmkit_raft::{Finding, Inspected, SnapshotReport};

use super::{Context, RafttoolError};

/// What was found in one segment.
#[derive(Default)]
struct Segment {
    records: u64,
    entries: Option<(u64, u64)>,
    tail: Option<(u64, u64)>,
    damage: Vec<Finding>,
}

/// Shows every file, whole or not. Fails if anything that was durable once cannot be read, and if what can be read does
/// not make a store.
pub(super) async fn run(context: &mut Context<'_>) -> Result<(), RafttoolError> {
    let mut segments: BTreeMap<String, Segment> = BTreeMap::new();
    let inspector = context.inspector.clone();
    let visit = |inspected| match inspected {
        Inspected::Record(record) => {
            let segment = segments.entry(record.file).or_default();
            segment.records += 1;
            if let Some((_, index)) = record.content.entry() {
                let (first, last) = segment.entries.unwrap_or((index, index));
                segment.entries = Some((first.min(index), last.max(index)));
            }
        }
        Inspected::Tail(tail) => segments.entry(tail.file).or_default().tail = Some((tail.offset, tail.bytes)),
        Inspected::Damage(finding) => segments.entry(finding.file.clone()).or_default().damage.push(finding),
        _ => {}
    };
    inspector.log(visit).await?;
    let mut damage = 0;
    for (file, segment) in &segments {
        damage += segment.damage.len();
        show_segment(context, file, segment)?;
    }
    for report in inspector.snapshots().await? {
        damage += usize::from(report.damage.is_some());
        show_snapshot(context, &report)?;
    }
    for file in inspector.leftovers().await? {
        context.show(&json!({ "kind": "leftover", "file": file }), || {
            format!("{file}: never finished; the manager removes it at its next start\n")
        })?;
    }
    if damage > 0 {
        return Err(RafttoolError::Damaged(damage));
    }
    let replayed = inspector.replay(true).await?;
    let json = json!({
        "kind": "state",
        "version": replayed.view.version().0,
        "applied": replayed.applied,
        "committed": replayed.committed,
        "members": replayed.members.iter().map(super::dump::member_json).collect::<Vec<_>>(),
    });
    context.show(&json, || {
        let (version, members) = (replayed.view.version().0, replayed.members.len());
        let open = match replayed.applied - replayed.committed {
            0 => String::new(),
            open => format!(", the last {open} of which are not known to be committed"),
        };
        format!(
            "everything is whole: entries up to {}{open}, version {version}, members: {members}\n",
            replayed.applied
        )
    })
}

fn show_segment(context: &mut Context<'_>, file: &str, segment: &Segment) -> Result<(), RafttoolError> {
    let json = json!({
        "kind": "segment",
        "file": file,
        "records": segment.records,
        "first_entry": segment.entries.map(|(first, _)| first),
        "last_entry": segment.entries.map(|(_, last)| last),
        "tail": segment.tail.map(|(offset, bytes)| json!({ "offset": offset, "bytes": bytes })),
        "damage": segment.damage.iter().map(damage_json).collect::<Vec<_>>(),
    });
    context.show(&json, || {
        let entries =
            segment.entries.map_or("no entry".to_owned(), |(first, last)| format!("entries {first} to {last}"));
        let mut text = format!("{file}: {} records, {entries}\n", segment.records);
        if let Some((offset, bytes)) = segment.tail {
            text += &format!("{file}: a write was cut off at byte {offset}, {bytes} bytes; the manager repairs that\n");
        }
        text + &segment.damage.iter().map(damage_line).collect::<String>()
    })
}

fn show_snapshot(context: &mut Context<'_>, report: &SnapshotReport) -> Result<(), RafttoolError> {
    let json = json!({
        "kind": "snapshot",
        "file": report.file,
        "index": report.index,
        "term": report.term,
        "bytes": report.bytes,
        "damage": report.damage.iter().map(damage_json).collect::<Vec<_>>(),
    });
    context.show(&json, || {
        let text = format!("{}: {} bytes, up to entry {}\n", report.file, report.bytes, report.index);
        text + &report.damage.iter().map(damage_line).collect::<String>()
    })
}

fn damage_json(finding: &Finding) -> serde_json::Value {
    json!({ "offset": finding.offset, "bytes": finding.bytes, "what": finding.what })
}

fn damage_line(finding: &Finding) -> String {
    let length = if finding.bytes > 0 { format!(" ({} bytes)", finding.bytes) } else { String::new() };
    format!("{finding}{length}\n")
}
