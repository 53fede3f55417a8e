//! Times as people read them, over the days on which clocks are set.

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> SystemTime {
    text.parse::<Timestamp>().expect("a time").into()
}

fn table(cron: &str, zone: &str) -> Timetable {
    Timetable::parse(cron, zone).expect("a schedule")
}

/// The first times after `from`, in the zone's own words.
fn times(cron: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
    let table = table(cron, zone);
    let mut now = at(from);
    let mut times = Vec::new();
    for _ in 0..count {
        now = table.next_after(now).expect("there is a next time");
        let zoned = Timestamp::try_from(now).unwrap().to_zoned(table.zone.clone());
        times.push(zoned.strftime("%m-%d %H:%M%:z").to_string());
    }
    times
}

#[test]
fn an_expression_is_read_as_everywhere() {
    let from = "2025-01-01T00:00:00Z";
    assert_eq!(times("*/20 * * * *", "", from, 3), ["01-01 00:20+00:00", "01-01 00:40+00:00", "01-01 01:00+00:00"]);
    assert_eq!(times("0 3 * * mon-fri", "", from, 3), ["01-01 03:00+00:00", "01-02 03:00+00:00", "01-03 03:00+00:00"]);
    assert_eq!(times("30 4 1,15 * 5", "", from, 3), ["01-01 04:30+00:00", "01-03 04:30+00:00", "01-10 04:30+00:00"]);
    assert_eq!(times("0 0 29 feb *", "", from, 1), ["02-29 00:00+00:00"]);
    assert_eq!(times("0 0 L * *", "", from, 2), ["01-31 00:00+00:00", "02-28 00:00+00:00"]);
    assert_eq!(times("0 0 * * 0", "", from, 1), times("0 0 * * 7", "", from, 1));
}

#[test]
fn what_cannot_be_read_is_named_with_its_field() {
    let refused = |cron: &str, zone: &str| Timetable::parse(cron, zone).expect_err("it is refused").to_string();
    let why = refused("0 3 * *", "");
    assert_eq!(
        why,
        "\"0 3 * *\": five fields are needed (minute, hour, day of month, month, day of week), and there are 4"
    );
    assert!(refused("0 3 * * * Europe/Berlin", "").contains("there are 6"));
    assert!(refused("", "").contains("there are 0"));
    assert_eq!(refused("60 3 * * *", ""), "minute \"60\": value must be in range 0..=59; found 60");
    assert!(refused("0 25 * * *", "").starts_with("hour \"25\": "), "{}", refused("0 25 * * *", ""));
    assert!(refused("0 3 0 * *", "").starts_with("day of month \"0\": "));
    assert!(refused("0 3 * 13 *", "").starts_with("month \"13\": "));
    assert!(refused("0 3 * * 8", "").starts_with("day of week \"8\": "));
    assert!(refused("5-1 3 * * *", "").starts_with("minute \"5-1\": "));
    assert!(refused("*/0 3 * * *", "").starts_with("minute \"*/0\": "));
    assert!(refused("H 3 * * *", "").starts_with("minute \"H\": "));
    assert_eq!(
        refused("0 3 * * *", "Mars/Olympus"),
        "\"Mars/Olympus\" is no time zone of the tz database, such as Europe/Berlin"
    );
}

#[test]
fn days_that_never_come_are_refused_and_the_end_of_time_is_none() {
    for (cron, zone) in [("0 0 31 2 *", ""), ("* * 31 2 *", "Europe/Berlin"), ("0 0 31 4,6,9,11 *", "Asia/Kolkata")] {
        assert_eq!(Timetable::parse(cron, zone).unwrap_err().to_string(), format!("{cron:?} never comes"));
    }
    assert_eq!(table("* * * * *", "").next_after(SystemTime::from(Timestamp::MAX)), None);
}

#[test]
fn a_time_of_day_that_the_clock_skips_is_due_when_it_is_set_forward() {
    let from = "2025-03-29T12:00:00Z";
    let nightly = times("30 2 * * *", "Europe/Berlin", from, 3);
    assert_eq!(nightly, ["03-30 03:00+02:00", "03-31 02:30+02:00", "04-01 02:30+02:00"]);
    let both = times("0,30 2,3 30 3 *", "Europe/Berlin", from, 2);
    assert_eq!(both, ["03-30 03:00+02:00", "03-30 03:30+02:00"], "what comes to one moment is due once");
    let new_york = times("30 2 * * *", "America/New_York", "2025-03-08T12:00:00Z", 2);
    assert_eq!(new_york, ["03-09 03:00-04:00", "03-10 02:30-04:00"]);
}

#[test]
fn a_time_of_day_that_the_clock_shows_twice_is_due_the_first_time_only() {
    let nightly = times("30 2 * * *", "Europe/Berlin", "2025-10-25T12:00:00Z", 2);
    assert_eq!(nightly, ["10-26 02:30+02:00", "10-27 02:30+01:00"]);
    let in_between = times("*/30 2 * * *", "Europe/Berlin", "2025-10-26T00:45:00Z", 1);
    assert_eq!(in_between, ["10-27 02:00+01:00"], "asked while the hour is shown for the second time");
    let lord_howe = times("45 1 * * *", "Australia/Lord_Howe", "2025-04-05T00:00:00Z", 2);
    assert_eq!(lord_howe, ["04-06 01:45+11:00", "04-07 01:45+10:30"], "clocks may be set by half an hour");
}

#[test]
fn what_is_due_every_so_often_goes_by_the_time_that_passes() {
    let forward = times("*/30 * * * *", "Europe/Berlin", "2025-03-30T00:10:00Z", 4);
    assert_eq!(forward, ["03-30 01:30+01:00", "03-30 03:00+02:00", "03-30 03:30+02:00", "03-30 04:00+02:00"]);
    let back = times("30 * * * *", "Europe/Berlin", "2025-10-25T23:40:00Z", 4);
    assert_eq!(back, ["10-26 02:30+02:00", "10-26 02:30+01:00", "10-26 03:30+01:00", "10-26 04:30+01:00"]);
    let skipped = times("15 */2 * * *", "Europe/Berlin", "2025-03-29T23:20:00Z", 2);
    assert_eq!(skipped, ["03-30 04:15+02:00", "03-30 06:15+02:00"], "02:15 does not exist");
}

#[test]
fn the_last_time_of_a_span_is_found_however_long_it_is() {
    let every_minute = table("* * * * *", "");
    let (from, until) = (at("2020-01-01T00:00:00Z"), at("2025-06-01T12:34:56Z"));
    assert_eq!(every_minute.last_in(from, until), Some(at("2025-06-01T12:34:00Z")));
    assert_eq!(every_minute.last_in(from, from), None);
    assert_eq!(every_minute.last_in(until, from), None, "the clock went back");
    let yearly = table("0 12 24 12 *", "America/New_York");
    assert_eq!(yearly.last_in(from, until), Some(at("2024-12-24T17:00:00Z")));
    assert_eq!(yearly.last_in(at("2024-12-24T17:00:00Z"), until), None, "what is due at the beginning is not in it");
    assert_eq!(
        yearly.last_in(at("2024-12-24T16:59:59Z"), at("2024-12-24T17:00:00Z")),
        Some(at("2024-12-24T17:00:00Z"))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Also over the days on which clocks are set.
    #[test]
    fn the_last_time_is_what_stepping_through_all_of_them_comes_to(
        cron in prop::sample::select(vec!["*/7 * * * *", "30 2 * * *", "0,30 1-3 * * *", "15 */2 * * *", "0 0 * * 1"]),
        zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", ""]),
        day in 0_u64..730,
        second in 0_u64..86_400,
        span in 0_u64..(3 * 86_400),
    ) {
        let table = table(cron, zone);
        let from = at("2025-01-01T00:00:00Z") + Duration::from_secs(day * 86_400 + second);
        let until = from + Duration::from_secs(span);
        let mut last = None;
        let mut now = from;
        while let Some(next) = table.next_after(now).filter(|next| *next <= until) {
            prop_assert!(next > now);
            last = Some(next);
            now = next;
        }
        prop_assert_eq!(table.last_in(from, until), last);
    }
}
