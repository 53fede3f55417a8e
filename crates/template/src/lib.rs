//! Expands the placeholders that a task's specification, and the secrets and configs of a task, may hold.
//!
//! A template is text with actions in double braces, in the language that operators know from existing clusters:
//! `{{.Service.Name}}`, `{{.Task.Slot}}`, `{{if eq .Node.Platform.OS "linux"}}…{{end}}`, `{{range $k, $v :=
//! .Service.Labels}}…{{end}}`, `{{join "-" .Node.ID .Task.ID}}`. The whole language is here: conditions, loops,
//! variables, pipelines, named templates, and its built-in functions.
//!
//! This crate is pure: no I/O, no clock, and the payloads that a template may insert are asked of the caller.
//!
//! ```
//! use std::sync::Arc;
//! use swarmkit_api::{Task, TaskId, wire};
//! use swarmkit_template::{Context, expand};
//!
//! let service = wire::Annotations { name: "web".into(), ..Default::default() };
//! let mut task = Task::new(TaskId::from("t1"), wire::TaskSpec::default());
//! task.service_annotations = Arc::new(service);
//! task.slot = 3;
//! let context = Context::new(&task, None);
//! assert_eq!(expand("{{.Service.Name}}-{{.Task.Slot}}", &context)?, "web-3");
//! let error = expand("{{.Task.Slat}}", &context).unwrap_err();
//! assert_eq!(error.to_string(), "line 1, column 8: .Task has no field Slat");
//! # Ok::<(), swarmkit_template::TemplateError>(())
//! ```
//!
//! # Invariants
//!
//! - No template makes this crate panic, run for long or fill the memory: nesting, steps and output are limited.
//! - What is inserted is not expanded again, so no payload can contain itself.
//! - Values that may be secrets are wiped from memory when they are dropped.

mod context;
mod error;
mod eval;
mod format;
mod functions;
mod lexer;
mod parser;
mod payload;
mod spec;
mod value;

pub use context::{Context, expand};
pub use error::TemplateError;
pub use payload::{Expanded, Payloads, expand_config, expand_secret};
pub use spec::expand_task;
