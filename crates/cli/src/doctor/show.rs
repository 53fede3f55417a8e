//! The report, for people.

use std::fmt::Write as _;

use super::finding::{Finding, Verdict};

/// How far the text of a finding is indented.
const VERDICT_WIDTH: usize = 9;

/// The whole report: a line for each finding, what to do below it, and a summary.
#[must_use]
pub fn report(findings: &[Finding], colour: bool) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for finding in findings {
        let verdict = format!("{:VERDICT_WIDTH$}", word(finding.verdict));
        let verdict = if colour { paint(finding.verdict, &verdict) } else { verdict };
        let _ = writeln!(text, "{verdict}{:width$}{}", finding.check, finding.text);
        if let Some(mend) = &finding.mend {
            let _ = writeln!(text, "{:indent$}-> {mend}", "", indent = VERDICT_WIDTH + width);
        }
    }
    text + "\n" + &summary(findings) + "\n"
}

fn summary(findings: &[Finding]) -> String {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let some = |count: usize, one: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {one}s")),
    };
    let unknown = Some(count(Verdict::Unknown)).filter(|count| *count > 0).map(|count| format!("{count} not known"));
    let parts = [some(count(Verdict::Problem), "problem"), some(count(Verdict::Warning), "warning"), unknown];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "nothing is wrong".to_owned() } else { parts.join(", ") }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Skipped => "skipped",
        Verdict::Warning => "warning",
        Verdict::Unknown => "unknown",
        Verdict::Problem => "problem",
    }
}

fn paint(verdict: Verdict, text: &str) -> String {
    let colour = match verdict {
        Verdict::Ok => 32,
        Verdict::Skipped => 90,
        Verdict::Warning | Verdict::Unknown => 33,
        Verdict::Problem => 31,
    };
    format!("\x1b[{colour}m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::ok("state directory", "/d: no node runs on it"),
            Finding::problem("clock", "this machine's clock is 3 h behind that of m:1").mend("set it"),
            Finding::warning("log", "old"),
            Finding::skipped("cluster", "no node runs"),
        ]
    }

    #[test]
    fn people_see_aligned_lines_with_what_to_do_below_and_a_summary() {
        insta::assert_snapshot!(report(&findings(), false), @r"
        ok       state directory  /d: no node runs on it
        problem  clock            this machine's clock is 3 h behind that of m:1
                                  -> set it
        warning  log              old
        skipped  cluster          no node runs

        1 problem, 1 warning
        ");
        assert!(report(&findings(), true).contains("\x1b[31mproblem  \x1b[0mclock"));
    }

    #[test]
    fn a_summary_counts_what_matters() {
        assert_eq!(summary(&findings()[..1]), "nothing is wrong");
        let two = [findings(), findings()].concat();
        assert_eq!(summary(&two), "2 problems, 2 warnings");
        assert_eq!(summary(&[Finding::unknown("log", "?")]), "1 not known");
    }
}
