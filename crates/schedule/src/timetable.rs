//! The times of a schedule.

use std::time::{Duration, SystemTime};

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions};
use jiff::{
    SignedDuration, Timestamp, ToSpan as _,
    civil::DateTime,
    tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase},
};

use crate::ScheduleError;

/// The fields of an expression, in their order.
const FIELDS: [&str; 5] = ["minute", "hour", "day of month", "month", "day of week"];

/// How many changes of a zone's offset are looked beyond. What is looked for is at most four years away, and clocks are
/// rarely set more often than twice a year; where they are, the search is given up.
const CHANGES_MAX: usize = 64;

/// More years than are looked ahead, in which even a 29th of February comes.
const AHEAD_MAX: i64 = 5;

/// Between one moment and the next one that a change of a clock can be at.
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// When something is due, again and again.
///
/// Where the hour is given, a time that does not exist, since the clocks were set forward over it, is due when they were;
/// and one that exists twice, since they were set back, is due the first time only. So what is due once a day is due
/// once on such days, too.
///
/// Where the hour is `*` or begins with it, as in `*/15 * * * *` or `30 */2 * * *`, it is about how often and not about
/// when: a time that does not exist is not due, and one that exists twice is due twice.
#[derive(Clone, Debug)]
pub struct Timetable {
    /// Of the clock on the wall: what it calls UTC here is the local time of the zone.
    wall: Crontab,
    zone: TimeZone,
    /// Whether the hour is given.
    at_hours: bool,
}

impl Timetable {
    /// Reads a cron expression, and the zone that it is in by its name in the tz database. An empty name is UTC.
    ///
    /// # Errors
    ///
    /// When it is none, means days that never come, or the zone is not known. The error names the field.
    pub fn parse(cron: &str, time_zone: &str) -> Result<Self, ScheduleError> {
        let fields: Vec<_> = cron.split_whitespace().collect();
        let Ok(fields) = <[&str; 5]>::try_from(fields.as_slice()) else {
            return Err(ScheduleError::Fields { given: cron.to_owned(), fields: fields.len() });
        };
        for (place, field) in fields.iter().enumerate() {
            let mut alone = ["*"; 5];
            alone[place] = field;
            parse(&alone).map_err(|reason| {
                let given = (*field).to_owned();
                ScheduleError::Field { field: FIELDS[place], given, reason }
            })?;
        }
        let unreadable = |reason| ScheduleError::Field { field: "expression", given: cron.to_owned(), reason };
        let wall = parse(&fields).map_err(unreadable)?;
        let zone = match time_zone {
            "" => TimeZone::UTC,
            name => {
                TimeZoneDatabase::bundled().get(name).map_err(|_unknown| ScheduleError::Zone(time_zone.to_owned()))?
            }
        };
        let timetable = Self { wall, zone, at_hours: !fields[1].starts_with('*') };
        if timetable.next_after(SystemTime::UNIX_EPOCH).is_none() {
            return Err(ScheduleError::Never(cron.to_owned()));
        }
        Ok(timetable)
    }

    /// The first time that is later than `at`. `None` when there is none for the next four years, or none that clocks
    /// can show.
    #[must_use]
    pub fn next_after(&self, at: SystemTime) -> Option<SystemTime> {
        let at = Timestamp::try_from(at).ok()?;
        let next = if self.at_hours { self.next_on_the_wall(at) } else { self.next_in_passing(at) };
        next.map(SystemTime::from)
    }

    /// The last time that is later than `after`, and not later than `until`.
    #[must_use]
    pub fn last_in(&self, after: SystemTime, until: SystemTime) -> Option<SystemTime> {
        let mut last = self.next_after(after).filter(|at| *at <= until)?;
        // From `last` on there may be more, from `beyond` on there is none.
        let mut beyond = until;
        while self.next_after(last).is_some_and(|at| at <= until) {
            let Ok(distance) = beyond.duration_since(last) else { break };
            if distance <= Duration::from_secs(1) {
                break;
            }
            let middle = last + distance / 2;
            match self.next_after(middle).filter(|at| *at <= until) {
                Some(later) => last = later,
                None => beyond = middle,
            }
        }
        Some(last)
    }

    /// By the hands of the clock: what they skip is due when they skip it, and what they show twice counts once.
    fn next_on_the_wall(&self, at: Timestamp) -> Option<Timestamp> {
        let mut wall = self.zone.to_datetime(at);
        for _ in 0..CHANGES_MAX {
            wall = self.next_shown(wall)?;
            let due = match self.zone.to_ambiguous_timestamp(wall).offset() {
                AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok()?,
                AmbiguousOffset::Gap { before, .. } => self.change_until(before.to_timestamp(wall).ok()?)?,
                AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok()?,
            };
            if due > at {
                return Some(due);
            }
            // It is shown for the second time. So is all until the clock shows what it did when it was set back.
            if let AmbiguousOffset::Fold { before, .. } = self.zone.to_ambiguous_timestamp(wall).offset() {
                wall = before.to_datetime(self.change_until(at)?).checked_sub(SECOND).ok()?;
            }
        }
        None
    }

    /// By the time that passes: each stretch of it with one offset is looked at for itself.
    fn next_in_passing(&self, at: Timestamp) -> Option<Timestamp> {
        let mut from = at;
        for _ in 0..CHANGES_MAX {
            let offset = self.zone.to_offset(from);
            let due = offset.to_timestamp(self.next_shown(offset.to_datetime(from))?).ok()?;
            let Some(change) = self.zone.following(from).next().map(|change| change.timestamp()) else {
                return Some(due);
            };
            if due < change {
                return Some(due);
            }
            // In the moment of the change the clock shows what it was set to.
            let shown = self.zone.to_offset(change).to_datetime(change);
            if self.next_shown(shown.checked_sub(SECOND).ok()?) == Some(shown) {
                return Some(change);
            }
            from = change;
        }
        None
    }

    /// When the clock was set last, at some time or before.
    fn change_until(&self, at: Timestamp) -> Option<Timestamp> {
        self.zone.preceding(at.checked_add(SECOND).ok()?).next().map(|change| change.timestamp())
    }

    /// What the expression comes to next on a clock that is never set.
    fn next_shown(&self, wall: DateTime) -> Option<DateTime> {
        // So far is looked ahead, and beyond the last day that there is nobody looks.
        wall.checked_add(AHEAD_MAX.years()).ok()?;
        let wall = Offset::UTC.to_timestamp(wall).ok()?;
        let next = self.wall.find_next(MakeTimestamp(wall)).ok()?;
        Some(Offset::UTC.to_datetime(next.timestamp()))
    }
}

/// Reads an expression; if it cannot, says why in a line.
fn parse(fields: &[&str; 5]) -> Result<Crontab, String> {
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::UTC;
    cronexpr::parse_crontab_with(&fields.join(" "), options).map_err(|error| {
        // It shows the expression with a mark under it, and then says what is wrong there.
        let text = error.to_string();
        let reason = text.rsplit_once('^').map_or(text.as_str(), |(_, reason)| reason);
        reason.split_whitespace().collect::<Vec<_>>().join(" ")
    })
}

#[cfg(test)]
#[path = "timetable_tests.rs"]
mod tests;
