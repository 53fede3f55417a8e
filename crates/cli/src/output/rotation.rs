//! How far a replacement of the root of trust has got.

use swarmkit_issuer::{Laggard, Progress};

/// How many nodes are named at most; of the others there is the number.
const NAMED_MAX: usize = 5;

/// One line on how many nodes have turned, and which have not.
#[must_use]
pub fn rotation_line(progress: &Progress) -> String {
    let mut line = format!("{} of {} nodes have a certificate of the next root", progress.converged, progress.total());
    if !progress.waiting.is_empty() {
        line.push_str(&format!("; waiting for {}", named(&progress.waiting)));
    }
    if !progress.down.is_empty() {
        line.push_str(&format!("; down, to be brought back or removed: {}", named(&progress.down)));
    }
    line
}

fn named(nodes: &[Laggard]) -> String {
    let names: Vec<_> = nodes.iter().take(NAMED_MAX).map(Laggard::name).collect();
    match nodes.len().saturating_sub(NAMED_MAX) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &[&str]) -> Vec<Laggard> {
        names.iter().map(|name| Laggard { id: (*name).to_owned(), hostname: String::new() }).collect()
    }

    #[test]
    fn a_line_counts_all_and_names_a_few() {
        let progress = Progress { converged: 2, waiting: nodes(&["a", "b"]), down: vec![] };
        let counted = "2 of 4 nodes have a certificate of the next root";
        assert_eq!(rotation_line(&progress), format!("{counted}; waiting for a, b"));
        let progress = Progress { converged: 2, waiting: vec![], down: nodes(&["c", "d"]) };
        assert_eq!(rotation_line(&progress), format!("{counted}; down, to be brought back or removed: c, d"));
        let many = nodes(&["a", "b", "c", "d", "e", "f", "g"]);
        let progress = Progress { converged: 0, waiting: many, down: vec![] };
        let expected = "0 of 7 nodes have a certificate of the next root; waiting for a, b, c, d, e and 2 more";
        assert_eq!(rotation_line(&progress), expected);
    }
}
