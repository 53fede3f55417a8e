//! How figures are printed: a line for people, or an object for programs.
use std::fmt::Write as _;

use serde_json::json;

use crate::figure::{Figure, Summary};

/// The line above the rows.
pub(crate) fn header() -> String {
    let columns = ["figure", "unit", "n", "median", "p99", "min", "max", "limit"];
    let [figure, unit, n, median, p99, min, max, limit] = columns;
    format!("{figure:<25} {unit:>4} {n:>5} {median:>10} {p99:>10} {min:>10} {max:>10} {limit:>8}")
}

/// One figure as a row.
pub(crate) fn row(figure: &Figure, summary: &Summary) -> String {
    let verdict = match figure.limit {
        Some(limit) if figure.unit.more_is_better() && summary.median < limit => "  under",
        Some(limit) if !figure.unit.more_is_better() && summary.median > limit => "  over",
        _ => "",
    };
    format!(
        "{:<25} {:>4} {:>5} {:>10} {:>10} {:>10} {:>10} {:>8}{verdict}",
        figure.id,
        figure.unit.to_string(),
        summary.count,
        number(summary.median),
        number(summary.p99),
        number(summary.min),
        number(summary.max),
        figure.limit.map(|limit| limit.to_string()).unwrap_or_default(),
    )
}

/// One figure as a JSON object.
pub(crate) fn json(figure: &Figure, summary: &Summary) -> String {
    json!({
        "figure": figure.id,
        "value": summary.median,
        "unit": figure.unit.to_string(),
        "p99": summary.p99,
        "min": summary.min,
        "max": summary.max,
        "n": summary.count,
    })
    .to_string()
}

/// What figures there are.
pub(crate) fn list(figures: &[&Figure]) -> String {
    let mut text = String::new();
    for figure in figures {
        let bound = if figure.unit.more_is_better() { "at least" } else { "at most" };
        let limit = figure.limit.map(|limit| format!("{bound} {limit} {}", figure.unit));
        let limit = limit.unwrap_or_else(|| "for information".to_owned());
        let _ = writeln!(text, "{:<25} {limit}\n    {}", figure.id, figure.meaning);
        if let Some(upstream) = figure.upstream {
            let _ = writeln!(text, "    upstream: {upstream}");
        }
    }
    text
}

/// Four digits that mean something.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures;

    fn figure(id: &str) -> &'static Figure {
        figures::all().find(|figure| figure.id == id).expect("it is known")
    }

    #[test]
    fn an_object_has_the_keys_that_programs_look_for() {
        let summary = Summary { count: 5, median: 93.5, p99: 120.25, min: 90.0, max: 120.25 };
        let object = json(figure("start.first_call"), &summary);
        let object: serde_json::Value = serde_json::from_str(&object).expect("it is JSON");
        let expected = json!({
            "figure": "start.first_call", "value": 93.5, "unit": "ms", "p99": 120.25, "min": 90.0, "max": 120.25, "n": 5
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn a_row_tells_when_the_median_is_over_the_limit() {
        let over = Summary { count: 5, median: 1500.4, p99: 1600.0, min: 90.0, max: 1600.0 };
        let row = row(figure("start.first_call"), &over);
        assert!(row.contains("1500") && row.ends_with("over"), "{row}");
    }

    #[test]
    fn numbers_have_four_digits() {
        assert_eq!([1234.6, 123.46, 12.346, 1.2346, 0.1234].map(number), ["1235", "123.5", "12.35", "1.235", "0.123"]);
    }
}
