//! Generic resources in one argument: `fpga=2,gpu=UUID1,gpu=UUID2`.

use std::str::FromStr;

use swarmkit_api::wire::{DiscreteGenericResource, GenericResource, NamedGenericResource, generic_resource::Resource};

use super::split_csv;

/// Generic resources as they are written in an argument: terms `KIND=VALUE`, separated by commas and quoted as in CSV.
///
/// One whole number makes a kind that is counted; one or more other values are the names of its units.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenericResources(Vec<GenericResource>);

/// Why an argument tells of no generic resources. Clients match on how the text begins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not parse GenericResource: {0}")]
pub struct GenericError(String);

impl GenericResources {
    /// The resources, by kind in the order of the argument.
    #[must_use]
    pub fn into_vec(self) -> Vec<GenericResource> {
        self.0
    }

    /// The kinds that are there.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|resource| match resource.resource.as_ref()? {
            Resource::NamedResourceSpec(unit) => Some(unit.kind.as_str()),
            Resource::DiscreteResourceSpec(unit) => Some(unit.kind.as_str()),
        })
    }

    /// The kind of which units are named, if there is one. Tasks can ask for numbers only.
    #[must_use]
    pub fn named_kind(&self) -> Option<&str> {
        self.0.iter().find_map(|resource| match resource.resource.as_ref()? {
            Resource::NamedResourceSpec(unit) => Some(unit.kind.as_str()),
            Resource::DiscreteResourceSpec(_) => None,
        })
    }
}

impl FromStr for GenericResources {
    type Err = GenericError;

    fn from_str(text: &str) -> Result<Self, GenericError> {
        parse(text).map(Self).map_err(GenericError)
    }
}

fn parse(text: &str) -> Result<Vec<GenericResource>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if text.contains(['\n', '\r']) {
        return Err("there is a line break in it".to_owned());
    }
    let mut kinds = Vec::<(String, Vec<String>)>::new();
    for term in split_csv(text)? {
        let (kind, value) = match term.split('=').collect::<Vec<_>>()[..] {
            [kind, value] => (kind.trim(), value.trim()),
            _ => return Err(format!("{term:?} is not KIND=VALUE")),
        };
        if kind.is_empty() || value.is_empty() {
            return Err(format!("{term:?} is not KIND=VALUE"));
        }
        match kinds.iter_mut().find(|(known, _)| known == kind) {
            Some((_, values)) if values.iter().any(|known| known == value) => {
                return Err(format!("{term:?} is there twice"));
            }
            Some((_, values)) => values.push(value.to_owned()),
            None => kinds.push((kind.to_owned(), vec![value.to_owned()])),
        }
    }
    let mut resources = Vec::new();
    for (kind, values) in kinds {
        resources.extend(units(&kind, &values)?);
    }
    Ok(resources)
}

/// One number, or all names.
fn units(kind: &str, values: &[String]) -> Result<Vec<GenericResource>, String> {
    let is_number = |value: &&String| {
        let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let of = |resource| GenericResource { resource: Some(resource) };
    let numbers = values.iter().filter(is_number).count();
    match values {
        [number] if numbers == 1 => {
            let value = number.parse().map_err(|_| format!("the number of {kind} is out of range: {number}"))?;
            if value < 0 {
                return Err(format!("the number of {kind} is negative: {number}"));
            }
            Ok(vec![of(Resource::DiscreteResourceSpec(DiscreteGenericResource { kind: kind.to_owned(), value }))])
        }
        names if numbers == 0 => {
            let named = |value: &String| NamedGenericResource { kind: kind.to_owned(), value: value.clone() };
            Ok(names.iter().map(|name| of(Resource::NamedResourceSpec(named(name)))).collect())
        }
        _ => Err(format!("{kind} has more than one number, or numbers and names: {}", values.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Result<Vec<String>, String> {
        let resources = text.parse::<GenericResources>().map_err(|error| error.to_string())?;
        let tell = |resource: GenericResource| match resource.resource {
            Some(Resource::NamedResourceSpec(unit)) => format!("{} named {}", unit.kind, unit.value),
            Some(Resource::DiscreteResourceSpec(unit)) => format!("{} {}", unit.value, unit.kind),
            None => "nothing".to_owned(),
        };
        Ok(resources.into_vec().into_iter().map(tell).collect())
    }

    #[test]
    fn one_number_is_a_count_and_other_values_are_names() {
        for (text, resources) in [
            ("", vec![]),
            ("apple=3", vec!["3 apple"]),
            ("apple=0", vec!["0 apple"]),
            (" apple = 3 ", vec!["3 apple"]),
            ("apple=red", vec!["apple named red"]),
            ("apple=red,apple=3b,apple=blue", vec!["apple named red", "apple named 3b", "apple named blue"]),
            ("fpga=2,gpu=UUID1,cpu=4,gpu=UUID2", vec!["2 fpga", "gpu named UUID1", "gpu named UUID2", "4 cpu"]),
            (r#""gpu=a,b",gpu=c"#, vec!["gpu named a,b", "gpu named c"]),
        ] {
            assert_eq!(told(text).unwrap(), resources, "{text}");
        }
    }

    #[test]
    fn what_tells_of_no_resources_is_refused_and_every_text_begins_alike() {
        for (text, reason) in [
            ("apple=-3", "the number of apple is negative: -3"),
            ("apple=99999999999999999999", "the number of apple is out of range: 99999999999999999999"),
            ("apple=3,apple=4", "apple has more than one number, or numbers and names: 3, 4"),
            ("apple=3,apple=red", "apple has more than one number, or numbers and names: 3, red"),
            ("apple=red,pear=1,apple=3", "apple has more than one number, or numbers and names: red, 3"),
            ("apple=red,apple=red", "\"apple=red\" is there twice"),
            ("apple=3\npear=4", "there is a line break in it"),
            ("apple=3\n", "there is a line break in it"),
            ("apple", "\"apple\" is not KIND=VALUE"),
            ("apple=3,", "\"\" is not KIND=VALUE"),
            ("apple=red=4", "\"apple=red=4\" is not KIND=VALUE"),
            ("=3", "\"=3\" is not KIND=VALUE"),
            ("apple= ", "\"apple= \" is not KIND=VALUE"),
            ("\"apple=3", "a quote is not closed"),
        ] {
            assert_eq!(told(text).unwrap_err(), format!("could not parse GenericResource: {reason}"), "{text}");
        }
    }
}
