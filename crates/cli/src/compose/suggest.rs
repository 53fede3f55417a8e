//! The nearest known word to one that is not known.

/// The candidate that a slip of the fingers away from `word`, if there is one.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // One slip in a short word, three in a long one: beyond that a suggestion is a guess.
    let limit = (word.chars().count() / 3).clamp(1, 3);
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let known = ["replicas", "resources", "restart_policy", "mode", "labels"];
        for (word, expected) in [
            ("replcas", Some("replicas")),
            ("Replicas", Some("replicas")),
            ("restartpolicy", Some("restart_policy")),
            ("label", Some("labels")),
            ("moed", Some("mode")),
            ("cpus", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
