//! What the files of a journal are made of: records with a checksum, in batches that were synced as one.
//!
//! A record is `magic, length, batch, checksum, payload`; the lowest bit of `batch` marks the last record of its batch. A
//! batch is written only after the one before it was synced. So bytes that cannot be read are a torn tail if no record
//! of a later batch follows, and damage if one does: then they were durable once, and cutting them off would lose what
//! was acknowledged. The checksum covers the place of a record too, so old bytes of another place are not taken for it.

use std::ops::Range;

/// Begins every record.
const MAGIC: u32 = 0x4c4a_5753;

/// The bytes before the payload: magic, length, batch, checksum.
pub(super) const HEADER: usize = 20;

/// Where a record lies. Snapshots count apart from segments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) file: u64,
    pub(super) offset: u64,
}

/// Whose place it is in the checksum of a snapshot's record.
pub(super) const SNAPSHOT: u64 = 1 << 63;

/// A record as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) batch: u64,
    /// It is the last one of its batch.
    pub(super) last: bool,
    pub(super) payload: Range<usize>,
}

/// Adds a record.
pub(super) fn encode(place: Place, batch: u64, last: bool, payload: &[u8], out: &mut Vec<u8>) {
    let length =
        u32::try_from(payload.len()).expect("invariant: no payload exceeds the bound of a proposal or a chunk");
    let start = out.len();
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&(batch << 1 | u64::from(last)).to_le_bytes());
    let checksum = checksum(place, &out[start..], payload);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(payload);
}

fn checksum(place: Place, header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place.file.to_le_bytes());
    hasher.update(&place.offset.to_le_bytes());
    hasher.update(header);
    hasher.update(payload);
    hasher.finalize()
}

/// How long the payload is of which this is the header, if it is one.
pub(super) fn payload_len(header: &[u8]) -> Option<usize> {
    (number(header, 0)? == MAGIC).then_some(())?;
    usize::try_from(number(header, 4)?).ok()
}

/// Reads the record at the beginning of `bytes`. `None` if there is no whole one.
pub(super) fn decode(place: Place, bytes: &[u8]) -> Option<Record> {
    let payload = HEADER..HEADER.checked_add(payload_len(bytes)?)?;
    let body = bytes.get(payload.clone())?;
    (number(bytes, 16)? == checksum(place, &bytes[..16], body)).then_some(())?;
    let batch = u64::from_le_bytes(bytes[8..16].try_into().ok()?);
    Some(Record { batch: batch >> 1, last: batch & 1 == 1, payload })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The readable records of a segment.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) payloads: Vec<Range<usize>>,
    /// Where they end. What follows is a torn tail, to be cut off.
    pub(super) end: usize,
}

/// Reads a segment.
///
/// # Errors
///
/// The offset of bytes that were durable once and cannot be read.
pub(super) fn scan(file: u64, bytes: &[u8]) -> Result<Scan, u64> {
    let (mut payloads, mut end, mut unread) = (Vec::new(), 0, 0);
    let at = |offset: usize| Place { file, offset: offset as u64 };
    while let Some(record) = decode(at(end), &bytes[end..]) {
        payloads.push(end + record.payload.start..end + record.payload.end);
        end += record.payload.end;
        // The batch that whatever comes next belongs to.
        unread = if record.last { record.batch + 1 } else { record.batch };
    }
    let magic = MAGIC.to_le_bytes();
    let later = |offset: &usize| {
        bytes[*offset..].starts_with(&magic)
            && decode(at(*offset), &bytes[*offset..]).is_some_and(|record| record.batch > unread)
    };
    if (end..bytes.len()).any(|offset| later(&offset)) { Err(end as u64) } else { Ok(Scan { payloads, end }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three batches of two records, and where each record ends.
    fn segment() -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for number in 0..6_u64 {
            let place = Place { file: 3, offset: bytes.len() as u64 };
            encode(place, number / 2, number % 2 == 1, format!("payload {number}").as_bytes(), &mut bytes);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn a_segment_that_is_cut_anywhere_gives_the_records_before_the_cut() {
        let (bytes, ends) = segment();
        for cut in 0..=bytes.len() {
            let scan = scan(3, &bytes[..cut]).expect("a cut is no damage");
            let whole = ends.iter().filter(|&&end| end <= cut).count();
            assert_eq!((scan.payloads.len(), scan.end), (whole, ends[..whole].last().copied().unwrap_or_default()));
        }
    }

    #[test]
    fn a_byte_that_changed_in_the_last_batch_is_a_torn_tail_and_in_an_earlier_one_damage() {
        let (bytes, ends) = segment();
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x55;
            let record = ends.iter().filter(|&&end| end <= at).count();
            let start = if record == 0 { 0 } else { ends[record - 1] };
            match scan(3, &bytes) {
                Ok(scan) => assert!(record >= 4 && scan.end == start, "byte {at} of an early batch was cut off"),
                Err(offset) => assert!(record < 4 && offset == start as u64, "byte {at} of the last batch is damage"),
            }
        }
    }

    #[test]
    fn a_record_of_another_place_is_none() {
        let (bytes, ends) = segment();
        assert!(decode(Place { file: 3, offset: 0 }, &bytes).is_some());
        assert_eq!(decode(Place { file: 4, offset: 0 }, &bytes), None);
        assert_eq!(decode(Place { file: 3, offset: 0 }, &bytes[ends[0]..]), None);
    }
}
