//! What templates compute with.

use std::{collections::BTreeMap, rc::Rc};

use zeroize::Zeroizing;

/// A value. Texts are bytes, since payloads may be anything, and are wiped when the last user drops them.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Nothing at all: prints as `<no value>`.
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Text),
    Map(Rc<BTreeMap<Vec<u8>, Value>>),
    /// Named fields, in order; asking for another one is an error.
    Struct(Rc<Vec<(&'static str, Value)>>),
}

/// A text that is shared, and wiped when nobody uses it any more.
pub(crate) type Text = Rc<Zeroizing<Vec<u8>>>;

impl Value {
    pub(crate) fn text(text: impl Into<Vec<u8>>) -> Self {
        Self::Str(Rc::new(Zeroizing::new(text.into())))
    }

    /// Whether a condition takes it for true: everything but nothing, false, 0 and what is empty.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Struct(_) => true,
        }
    }

    /// The name of its type, for errors and for `%T`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Str(_) => "string",
            Self::Map(_) => "map[string]string",
            Self::Struct(_) => "struct",
        }
    }

    /// Roughly how many bytes handling it takes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Str(text) => text.len(),
            Self::Nil | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Map(_) | Self::Struct(_) => 0,
        }
    }
}
