//! What is wrong with a template.

use crate::lexer::Offset;

/// Why a template could not be expanded. None of it goes away by itself: the template has to be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The template is malformed, or asks for something that is not there.
    #[error("line {line}, column {column}: {message}")]
    At {
        /// The line, from 1.
        line: usize,
        /// The character within the line, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// The template would take too long, or give too much.
    #[error("the template exceeds the limit of {0}")]
    TooMuch(&'static str),
    /// The payload names a template language that nobody knows. Only `golang` is known.
    #[error("unrecognized template type")]
    UnknownLanguage,
    /// The part of a specification or the dependency that was being expanded, and what is wrong with it.
    #[error("{what}: {error}")]
    In {
        /// Such as `expanding env failed`.
        what: String,
        /// What is wrong.
        error: Box<TemplateError>,
    },
}

impl TemplateError {
    /// The same error, with what was being done.
    pub(crate) fn within(self, what: impl Into<String>) -> Self {
        Self::In { what: what.into(), error: Box::new(self) }
    }
}

/// An error while its template is at hand: it knows where, but not yet in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    At(Offset, String),
    TooMuch(&'static str),
}

impl Fault {
    pub(crate) fn at(offset: Offset, message: impl Into<String>) -> Self {
        Self::At(offset, message.into())
    }

    /// Finds the line and column.
    pub(crate) fn locate(self, source: &[u8]) -> TemplateError {
        match self {
            Self::TooMuch(what) => TemplateError::TooMuch(what),
            Self::At(offset, message) => {
                let before = &source[..offset.min(source.len())];
                let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
                let column = 1 + String::from_utf8_lossy(&before[line_start..]).chars().count();
                TemplateError::At { line, column, message }
            }
        }
    }
}
