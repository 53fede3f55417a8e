//! Reading a log without opening it: every record that stands in the files, and everything that is wrong with them.
//!
//! Opening a log stops at damage and repairs a torn tail. This does neither: it changes nothing, and goes on after damage
//! at the next record that can be read.

use bytes::Bytes;
use swarmkit_runtime::Env;

use super::{
    entry_place,
    record::{self, Found, Record, Start},
    recovery::a_later_batch_follows,
    segment::{self, FORMAT, LOG_ID_BYTES},
};
use crate::{
    codec::{decode_payload, id_from_wire},
    inspect::{Content, Finding, Inspected, LogRecord, Tail, content_of},
    seal::{LogKey, Sealer},
    types::{LogId, term_of},
};

/// Reads segments in order, and remembers what connects them.
pub(crate) struct Walk {
    sealers: Vec<Sealer>,
    log: Option<[u8; LOG_ID_BYTES]>,
    oldest: u64,
    newest: Option<u64>,
    /// The newest entry so far, if nothing before was damaged.
    last: Option<LogId>,
    /// What lay in segments that are gone, and what was purged in truth.
    floor: Option<LogId>,
    purged: Option<LogId>,
    /// Something was damaged, so what follows need not follow on it.
    broken: bool,
}

impl Walk {
    pub(crate) fn new(keys: &[LogKey], env: &Env) -> Self {
        let sealers = keys.iter().map(|key| Sealer::new(key, env.clone())).collect();
        Self { sealers, log: None, oldest: 0, newest: None, last: None, floor: None, purged: None, broken: false }
    }

    /// Reads one segment. Only the `last` of a log may have a torn tail.
    pub(crate) fn segment(
        &mut self,
        number: u64,
        content: &Bytes,
        last: bool,
        visit: &mut (dyn FnMut(Inspected) + Send),
    ) {
        let file = segment::name(number);
        if let Some(before) = self.newest
            && number != before + 1
        {
            self.damage(visit, &segment::name(before + 1), 0, 0, "the file is missing");
        }
        if self.newest.is_none() {
            self.oldest = number;
        }
        self.newest = Some(number);
        let (mut at, mut next_batch, mut torn_from) = (0, 0, None);
        loop {
            match record::read(content, number, at) {
                Found::End => break,
                Found::Record { record, batch, last_of_batch, end } => {
                    if (at == 0) != matches!(record, Record::Start(_)) || batch != next_batch && !self.broken {
                        self.damage(visit, &file, at, end - at, "a record is out of place");
                    }
                    if let Record::Start(start) = &record {
                        self.start(visit, &file, start);
                    }
                    self.follow(visit, &file, at, &record);
                    match self.show(&file, at, end, record) {
                        Ok(shown) => visit(Inspected::Record(shown)),
                        Err(what) => self.damage(visit, &file, at, end - at, what),
                    }
                    torn_from = if last_of_batch { None } else { torn_from.or(Some(at)) };
                    next_batch = if last_of_batch { batch + 1 } else { batch };
                    at = end;
                }
                // The newest batch may have been cut off anywhere; whatever is followed by a later one was durable once.
                Found::Damage(_) if last && !a_later_batch_follows(content, number, at, next_batch) => {
                    torn_from = torn_from.or(Some(at));
                    break;
                }
                Found::Damage(what) => {
                    let next = next_record(content, number, at + 1);
                    let end = next.map_or(content.len(), |(next, _)| next);
                    self.damage(visit, &file, at, end - at, what);
                    let Some((next, batch)) = next else { return };
                    (at, next_batch, torn_from) = (next, batch, None);
                }
            }
        }
        match torn_from {
            // Room that was reserved and not used.
            Some(from) if last && content[from..].iter().all(|&byte| byte == 0) => {}
            Some(from) if last => {
                visit(Inspected::Tail(Tail { file, offset: from as u64, bytes: (content.len() - from) as u64 }))
            }
            Some(from) => self.damage(visit, &file, from, content.len() - from, "a batch is cut off"),
            None => {}
        }
    }

    /// To be called after the last segment.
    pub(crate) fn finish(&mut self, visit: &mut (dyn FnMut(Inspected) + Send)) {
        if self.floor > self.purged {
            let missing = segment::name(self.oldest.saturating_sub(1));
            self.damage(visit, &missing, 0, 0, "the file is missing");
        }
    }

    /// Checks that a segment belongs to the log, and that there is a key for it.
    fn start(&mut self, visit: &mut (dyn FnMut(Inspected) + Send), file: &str, start: &Start) {
        if start.format != FORMAT {
            self.damage(visit, file, 0, 0, &format!("format {} is not known to this version", start.format));
        }
        let Ok(log) = <[u8; LOG_ID_BYTES]>::try_from(start.log.as_slice()) else {
            self.damage(visit, file, 0, 0, "an identity is malformed");
            return;
        };
        if *self.log.get_or_insert(log) != log {
            self.damage(visit, file, 0, 0, "the segment belongs to another log");
        }
        if !self.sealers.iter().any(|sealer| segment::opens(sealer, start)) {
            visit(Inspected::Damage(Finding::wrong_key(file)));
        }
    }

    /// Checks that a record follows on what came before.
    fn follow(&mut self, visit: &mut (dyn FnMut(Inspected) + Send), file: &str, at: usize, record: &Record) {
        match record {
            Record::Start(start) => {
                let told = start.last.as_ref().map(id_from_wire);
                if self.newest == Some(self.oldest) {
                    self.floor = told;
                    self.purged = start.purged.as_ref().map(id_from_wire);
                } else if !self.broken && told != self.last {
                    self.damage(visit, file, at, 0, "the segment does not follow on the one before it");
                }
                self.last = told;
                self.broken = false;
            }
            Record::Entry { id, .. } => {
                if let Some(last) = self.last.filter(|_| !self.broken)
                    && id.index != last.index + 1
                {
                    let what = format!("entry {} stands where {} belongs", id.index, last.index + 1);
                    self.damage(visit, file, at, 0, &what);
                }
                self.last = Some(*id);
            }
            // What was cut may lie in segments that are gone, and what is purged may lie beyond the newest entry.
            Record::Truncate(last) => {
                self.last = self.last.min(*last);
                self.floor = self.floor.min(*last);
            }
            Record::Purge(id) => {
                self.last = self.last.max(Some(*id));
                self.purged = self.purged.max(Some(*id));
            }
            Record::Vote(_) | Record::Committed(_) | Record::Owner(_) | Record::GivenUp(_) => {}
        }
    }

    /// What a record says, for people. The error is what is wrong with it.
    fn show(&self, file: &str, at: usize, end: usize, record: Record) -> Result<LogRecord, &'static str> {
        let content = match record {
            Record::Entry { id, sealed } => {
                let mut opened = self.sealers.iter().filter_map(|sealer| sealer.open(&entry_place(&id), &sealed).ok());
                let payload = opened.next().ok_or("none of the keys opens an entry")?;
                content_of(decode_payload(id, payload).map_err(|_| "an entry is malformed")?)
            }
            Record::Start(start) => Content::Start { raft_id: start.raft_id, node_id: start.node_id },
            Record::Vote(vote) => Content::Vote {
                term: vote.leader_id.term,
                candidate: vote.leader_id.voted_for,
                granted: vote.committed,
            },
            Record::Committed(id) => Content::Committed { term: term_of(&id), index: id.index },
            Record::Truncate(id) => Content::Truncated { after: id.map(|id| id.index) },
            Record::Owner(owner) => Content::Owner { raft_id: owner.raft_id, node_id: owner.node_id.to_string() },
            Record::GivenUp(id) => Content::GivenUp { term: term_of(&id), index: id.index },
            Record::Purge(id) => Content::Purged { term: term_of(&id), index: id.index },
        };
        Ok(LogRecord { file: file.to_owned(), offset: at as u64, bytes: (end - at) as u64, content })
    }

    fn damage(
        &mut self,
        visit: &mut (dyn FnMut(Inspected) + Send),
        file: &str,
        offset: usize,
        bytes: usize,
        what: &str,
    ) {
        self.broken = true;
        visit(Inspected::Damage(Finding {
            file: file.to_owned(),
            offset: offset as u64,
            bytes: bytes as u64,
            what: what.to_owned(),
        }));
    }
}

/// The first record at or after `from`, and its batch.
fn next_record(content: &Bytes, number: u64, from: usize) -> Option<(usize, u32)> {
    (from..content.len()).find_map(|at| match record::read(content, number, at) {
        Found::Record { batch, .. } => Some((at, batch)),
        Found::End | Found::Damage(_) => None,
    })
}
