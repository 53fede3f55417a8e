//! What a journal holds, given back to a store.

use std::{collections::BTreeSet, io, sync::Arc};

use super::{
    Failed as _, JournalError, JournalFolder, SEGMENT, SNAPSHOT, UNFINISHED, name,
    record::{self, Place},
};
use crate::Applier;

/// Where the journal goes on.
pub(super) struct Recovered {
    /// The segment to write to: empty.
    pub(super) segment: u64,
    /// How many bytes there are to read after the last snapshot.
    pub(super) since_snapshot: u64,
    /// The size of the last snapshot.
    pub(super) snapshot: u64,
}

/// The numbered files of a folder.
struct Files {
    snapshots: BTreeSet<u64>,
    segments: BTreeSet<u64>,
}

/// Gives a store the newest snapshot and what was committed after it, cuts off a torn tail, and begins a new segment.
pub(super) fn recover(folder: &Arc<dyn JournalFolder>, applier: &Applier) -> Result<Recovered, JournalError> {
    let folder = folder.as_ref();
    let files = list(folder)?;
    let base = files.snapshots.last().copied();
    let snapshot = match base {
        Some(number) => read_snapshot(folder, number, applier)?,
        None => 0,
    };
    let base = base.unwrap_or_default();
    let segments: Vec<u64> = files.segments.range(base..).copied().collect();
    let newest = segments.last().copied();
    // A snapshot is finished after the segment of its number was begun, so only an empty folder has none.
    let expected = newest.map_or_else(|| if snapshot > 0 { base + 1 } else { base }, |newest| newest + 1);
    if let Some(missing) = (base..expected).find(|number| !files.segments.contains(number)) {
        return Err(JournalError::Missing(name(SEGMENT, missing)));
    }
    let (mut since_snapshot, mut last) = (0, 0);
    for &number in &segments {
        last = read_segment(folder, number, Some(number) == newest, applier)?;
        since_snapshot += last;
    }
    clean_up(folder, base)?;
    let segment = match newest {
        Some(newest) if last == 0 => newest,
        Some(newest) => begin_segment(folder, newest + 1)?,
        None => begin_segment(folder, base)?,
    };
    Ok(Recovered { segment, since_snapshot, snapshot })
}

/// Begins a segment, and gives its number.
pub(super) fn begin_segment(folder: &dyn JournalFolder, number: u64) -> Result<u64, JournalError> {
    let name = name(SEGMENT, number);
    folder.create(&name).failed("create", &name)?;
    folder.sync_names().failed("sync the names with", &name)?;
    Ok(number)
}

/// Removes what a finished snapshot has made superfluous. What is left behind by a crash meanwhile is removed later.
pub(super) fn clean_up(folder: &dyn JournalFolder, base: u64) -> Result<(), JournalError> {
    let files = list(folder)?;
    let old = files.segments.range(..base).map(|&number| name(SEGMENT, number));
    for name in old.chain(files.snapshots.range(..base).map(|&number| name(SNAPSHOT, number))) {
        folder.remove(&name).failed("remove", &name)?;
    }
    Ok(())
}

fn list(folder: &dyn JournalFolder) -> Result<Files, JournalError> {
    let names = folder.list().failed("list", "the folder")?;
    let numbered = |kind: &str| {
        let number = |name: &String| u64::from_str_radix(name.strip_prefix(kind)?, 16).ok();
        names.iter().filter_map(number).collect()
    };
    for unfinished in names.iter().filter(|name| name.ends_with(UNFINISHED)) {
        folder.remove(unfinished).failed("remove", unfinished)?;
    }
    Ok(Files { snapshots: numbered(SNAPSHOT), segments: numbered(SEGMENT) })
}

/// Reads a snapshot piece by piece, and gives its size.
fn read_snapshot(folder: &dyn JournalFolder, number: u64, applier: &Applier) -> Result<u64, JournalError> {
    let name = name(SNAPSHOT, number);
    let mut restore = applier.restore();
    let (mut offset, mut finished) = (0, false);
    while !finished {
        let damaged = || JournalError::Damaged { name: name.clone(), offset };
        let header = folder.read(&name, offset, record::HEADER).failed("read", &name)?;
        let length = record::payload_len(&header).ok_or_else(damaged)?;
        let bytes = folder.read(&name, offset, record::HEADER + length).failed("read", &name)?;
        let place = Place { file: number | record::SNAPSHOT, offset };
        let record = record::decode(place, &bytes).ok_or_else(damaged)?;
        restore.chunk(&bytes[record.payload])?;
        offset += bytes.len() as u64;
        finished = record.last;
    }
    applier.install(restore)?;
    Ok(offset)
}

/// Applies what a segment holds, and gives how long it is without a torn tail.
fn read_segment(folder: &dyn JournalFolder, number: u64, newest: bool, applier: &Applier) -> Result<u64, JournalError> {
    let name = name(SEGMENT, number);
    let bytes = folder.read(&name, 0, usize::MAX).failed("read", &name)?;
    let scan = record::scan(number, &bytes).map_err(|offset| JournalError::Damaged { name: name.clone(), offset })?;
    let end = scan.end as u64;
    if scan.end < bytes.len() {
        if !newest {
            // It was whole when the next one was begun.
            return Err(JournalError::Damaged { name, offset: end });
        }
        folder.truncate(&name, end).failed("cut the torn tail of", &name)?;
        folder.sync(&name).failed("sync", &name)?;
    }
    for payload in scan.payloads {
        applier.apply(&bytes[payload])?;
    }
    Ok(end)
}

/// Writes a snapshot, puts it into place, and removes what it replaces. Gives its size.
pub(super) fn write_snapshot(
    folder: &dyn JournalFolder,
    number: u64,
    snapshot: &crate::Snapshot,
) -> Result<u64, JournalError> {
    let finished = name(SNAPSHOT, number);
    let unfinished = format!("{finished}{UNFINISHED}");
    match folder.remove(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).failed("remove", &unfinished),
        _ => {}
    }
    folder.create(&unfinished).failed("create", &unfinished)?;
    let (mut offset, mut bytes) = (0, Vec::new());
    let mut pieces = snapshot.chunks().enumerate().peekable();
    while let Some((batch, piece)) = pieces.next() {
        bytes.clear();
        let place = Place { file: number | record::SNAPSHOT, offset };
        record::encode(place, batch as u64, pieces.peek().is_none(), &piece, &mut bytes);
        folder.append(&unfinished, &bytes).failed("write", &unfinished)?;
        offset += bytes.len() as u64;
    }
    folder.sync(&unfinished).failed("sync", &unfinished)?;
    folder.rename(&unfinished, &finished).failed("rename", &unfinished)?;
    folder.sync_names().failed("sync the names with", &finished)?;
    clean_up(folder, number)?;
    Ok(offset)
}
