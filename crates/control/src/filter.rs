//! Which objects a list request asks for.
//!
//! Most lists narrow in two passes, as clients of the wire know them: the first filter that is given, in a fixed order,
//! chooses the candidates by index; then every filter is applied to each candidate, OR inside a filter and AND between
//! them. Secrets, configs and resources are a union of names, name prefixes and id prefixes, narrowed by labels.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use swarmkit_api::{Object, wire};

/// One filter of a list: what it asks of an object. `None` when it was not given.
type Test<'a, O> = Option<Box<dyn Fn(&O) -> bool + 'a>>;

/// Keeps what passes every filter that was given.
pub(crate) fn all_pass<O>(tests: &[Test<'_, O>], object: &O) -> bool {
    tests.iter().flatten().all(|test| test(object))
}

/// Is `values` empty, or does one of them fit?
pub(crate) fn any<'a, V, O>(values: &'a [V], fits: impl Fn(&V, &O) -> bool + 'a) -> Test<'a, O> {
    if values.is_empty() {
        return None;
    }
    Some(Box::new(move |object| values.iter().any(|value| fits(value, object))))
}

/// The candidates of each value in turn, without doublets: first come, first kept.
pub(crate) fn union<'a, O: Object>(found: impl IntoIterator<Item = &'a Arc<O>>) -> Vec<Arc<O>> {
    let mut seen = BTreeSet::new();
    found.into_iter().filter(|object| seen.insert(object.id().clone())).cloned().collect()
}

/// Every label asked for is there, and has the value asked for unless that is empty.
pub(crate) fn labels(wanted: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key).is_some_and(|actual| value.is_empty() || actual == value))
}

/// The label filter of objects whose annotations hold the labels.
pub(crate) fn by_labels<'a, O: Object>(wanted: &'a BTreeMap<String, String>) -> Test<'a, O> {
    by_labels_of(wanted, |object: &O| object.annotations())
}

/// The label filter, with the labels taken from elsewhere.
pub(crate) fn by_labels_of<'a, O>(
    wanted: &'a BTreeMap<String, String>,
    of: impl Fn(&O) -> &wire::Annotations + 'a,
) -> Test<'a, O> {
    if wanted.is_empty() {
        return None;
    }
    Some(Box::new(move |object| labels(wanted, &of(object).labels)))
}

/// The filters that every kind has: names, name prefixes, id prefixes.
pub(crate) fn by_identity<'a, O: Object>(
    names: &'a [String],
    name_prefixes: &'a [String],
    id_prefixes: &'a [String],
    name: impl Fn(&O) -> String + Copy + 'a,
) -> [Test<'a, O>; 3] {
    [
        any(names, move |wanted: &String, object| name(object) == *wanted),
        any(name_prefixes, move |prefix: &String, object| name(object).starts_with(prefix.as_str())),
        any(id_prefixes, |prefix: &String, object: &O| object.id().as_ref().starts_with(prefix.as_str())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn every_label_asked_for_must_be_there() {
        let actual = map(&[("tier", "front"), ("zone", "a")]);
        assert!(labels(&map(&[]), &actual));
        assert!(labels(&map(&[("tier", "front")]), &actual));
        assert!(labels(&map(&[("tier", ""), ("zone", "a")]), &actual), "an empty value fits any");
        assert!(!labels(&map(&[("tier", "back")]), &actual));
        assert!(!labels(&map(&[("tier", "front"), ("rack", "")]), &actual));
    }
}
