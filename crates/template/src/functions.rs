//! The functions that templates may call.

use std::{cmp::Ordering, collections::BTreeMap, rc::Rc};

use crate::{
    format,
    value::{Text, Value},
};

/// What a template may ask of its surroundings.
pub(crate) trait Ambient {
    /// Calls `secret`, `config` or `env`; `None` where there is no such function.
    fn call(&self, function: &str, argument: &str) -> Option<Result<Value, String>>;
}

/// Surroundings that offer nothing.
pub(crate) struct Nothing;

impl Ambient for Nothing {
    fn call(&self, _: &str, _: &str) -> Option<Result<Value, String>> {
        None
    }
}

/// Every name that may be called. `secret`, `config` and `env` have a meaning in payloads only.
const NAMES: [&str; 23] = [
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "print", "printf", "println",
    "html", "js", "urlquery", "call", "join", "secret", "config", "env",
];

pub(crate) fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls a function, but not `and` and `or`, which do not look at all of their arguments.
pub(crate) fn call(name: &str, arguments: &[Value], ambient: &dyn Ambient) -> Result<Value, String> {
    match name {
        "not" => exactly::<1>(arguments).map(|[value]| Value::Bool(!value.is_true())),
        "eq" => equal(arguments).map(Value::Bool),
        "ne" => exactly::<2>(arguments).and_then(|[a, b]| Ok(Value::Bool(!same(a, b)?))),
        "lt" => compare(arguments, Ordering::is_lt),
        "le" => compare(arguments, Ordering::is_le),
        "gt" => compare(arguments, Ordering::is_gt),
        "ge" => compare(arguments, Ordering::is_ge),
        "len" => exactly::<1>(arguments).and_then(|[value]| length(value)),
        "index" => index(arguments),
        "slice" => slice(arguments),
        "print" => Ok(Value::text(format::print(arguments))),
        "println" => Ok(Value::text(format::println(arguments))),
        "printf" => match arguments.split_first() {
            Some((Value::Str(layout), values)) => Ok(Value::text(format::printf(layout, values))),
            _ => Err("a layout is missing".to_owned()),
        },
        "html" => Ok(Value::text(format::html(&shown(arguments)))),
        "js" => Ok(Value::text(format::js(&shown(arguments)))),
        "urlquery" => Ok(Value::text(format::urlquery(&shown(arguments)))),
        "join" => join(arguments),
        "call" => Err("there are no values that can be called".to_owned()),
        "secret" | "config" | "env" => {
            let [argument] = exactly::<1>(arguments)?;
            let argument = std::str::from_utf8(text(argument)?).map_err(|_| "the name is not UTF-8".to_owned())?;
            ambient.call(name, argument).unwrap_or_else(|| Err("only secrets and configs can use this".to_owned()))
        }
        _ => Err("not defined".to_owned()),
    }
}

/// What is to be made safe. Nothing is shown as where it is written by itself.
fn shown(arguments: &[Value]) -> Vec<u8> {
    let plain =
        |value: &Value| if matches!(value, Value::Nil) { Value::text(format::plain(value)) } else { value.clone() };
    format::print(&arguments.iter().map(plain).collect::<Vec<_>>())
}

fn exactly<const COUNT: usize>(arguments: &[Value]) -> Result<&[Value; COUNT], String> {
    arguments.try_into().map_err(|_| format!("takes {COUNT} values, not {}", arguments.len()))
}

fn text(value: &Value) -> Result<&Text, String> {
    match value {
        Value::Str(text) => Ok(text),
        other => Err(format!("takes a string, not a {}", other.kind())),
    }
}

/// The first is equal to any of the others.
fn equal(arguments: &[Value]) -> Result<bool, String> {
    let Some((first, others)) = arguments.split_first().filter(|(_, others)| !others.is_empty()) else {
        return Err("takes at least 2 values".to_owned());
    };
    for other in others {
        if same(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn same(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Nil, other) | (other, Value::Nil) => Ok(matches!(other, Value::Nil)),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Int(a), Value::Int(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::Str(a), Value::Str(b)) => Ok(a == b),
        _ => Err(incomparable(a, b)),
    }
}

fn compare(arguments: &[Value], is: fn(Ordering) -> bool) -> Result<Value, String> {
    let [a, b] = exactly::<2>(arguments)?;
    let order = match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Str(a), Value::Str(b)) => Some(a.cmp(b)),
        _ => return Err(incomparable(a, b)),
    };
    Ok(Value::Bool(order.is_some_and(is)))
}

fn incomparable(a: &Value, b: &Value) -> String {
    format!("a {} and a {} cannot be compared", a.kind(), b.kind())
}

fn length(value: &Value) -> Result<Value, String> {
    let length = match value {
        Value::Str(text) => text.len(),
        Value::Map(map) => map.len(),
        other => return Err(format!("a {} has no length", other.kind())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// `index value key…`: looks into maps (what is not there is empty) and into texts.
fn index(arguments: &[Value]) -> Result<Value, String> {
    let (value, keys) = arguments.split_first().ok_or("a value is missing")?;
    let mut value = value.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::Map(map), Value::Str(key)) => map.get(key.as_slice()).cloned().unwrap_or_else(|| Value::text("")),
            (Value::Str(text), Value::Int(place)) => {
                let byte = usize::try_from(*place).ok().and_then(|place| text.get(place));
                Value::Int(i64::from(*byte.ok_or_else(|| format!("{place} is out of range"))?))
            }
            (value, key) => return Err(format!("a {} cannot be looked into by a {}", value.kind(), key.kind())),
        };
    }
    Ok(value)
}

/// `slice text from to`
fn slice(arguments: &[Value]) -> Result<Value, String> {
    let (value, bounds) = arguments.split_first().ok_or("a value is missing")?;
    let text = text(value)?;
    let mut range = [0, text.len()];
    if bounds.len() > range.len() {
        return Err("a string takes at most 2 bounds".to_owned());
    }
    for (bound, slot) in bounds.iter().zip(&mut range) {
        let Value::Int(number) = bound else { return Err(format!("a bound cannot be a {}", bound.kind())) };
        *slot = usize::try_from(*number).map_err(|_| format!("{number} is out of range"))?;
    }
    let part = text.get(range[0]..range[1]).ok_or_else(|| format!("{}:{} is out of range", range[0], range[1]))?;
    Ok(Value::text(part))
}

/// `join separator text…`
fn join(arguments: &[Value]) -> Result<Value, String> {
    let (separator, parts) = arguments.split_first().ok_or("a separator is missing")?;
    let separator = text(separator)?;
    let mut joined = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            joined.extend_from_slice(separator);
        }
        joined.extend_from_slice(text(part)?);
    }
    Ok(Value::text(joined))
}

/// A map of texts.
pub(crate) fn map<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Value {
    let pairs = pairs.into_iter().map(|(key, value)| (key.clone().into_bytes(), Value::text(value.as_str())));
    Value::Map(Rc::new(pairs.collect::<BTreeMap<_, _>>()))
}
