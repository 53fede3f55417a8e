//! Running a template.

use std::rc::Rc;

use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    error::Fault,
    format,
    functions::{self, Ambient},
    lexer::Offset,
    parser::{Base, Branch, Command, Node, Operand, Pipeline, Template},
    value::Value,
};

/// The most that a template may give. Secrets and configs are smaller.
const OUTPUT_BYTES_MAX: usize = 4 << 20;
/// The most work that a template may take: one for each step, and one for every 16 bytes that it handles.
const WORK_MAX: usize = 4_000_000;
/// How deep actions and templates may be nested in each other while running.
const DEPTH_MAX: usize = 250;

/// Runs `template` with `data` as its dot, and gives what it writes.
pub(crate) fn run(template: &Template, data: &Value, ambient: &dyn Ambient) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let mut run = Run {
        template,
        ambient,
        out: Output::default(),
        work: WORK_MAX,
        variables: vec![(String::new(), data.clone())],
        depth: 0,
    };
    run.list(&template.main, data)?;
    Ok(run.out.0)
}

struct Run<'a> {
    template: &'a Template,
    ambient: &'a dyn Ambient,
    out: Output,
    work: usize,
    variables: Vec<(String, Value)>,
    depth: usize,
}

/// How a list of nodes has come to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// What was written. Grows without leaving copies of itself behind.
#[derive(Default)]
struct Output(Zeroizing<Vec<u8>>);

impl Output {
    fn write(&mut self, text: &[u8]) -> Result<(), Fault> {
        let length = self.0.len() + text.len();
        if length > OUTPUT_BYTES_MAX {
            return Err(Fault::TooMuch("4 MiB of output"));
        }
        if length > self.0.capacity() {
            let mut larger = Vec::with_capacity(length.next_power_of_two());
            larger.extend_from_slice(&self.0);
            self.0.zeroize();
            self.0 = Zeroizing::new(larger);
        }
        self.0.extend_from_slice(text);
        Ok(())
    }
}

impl Run<'_> {
    fn spend(&mut self, bytes: usize) -> Result<(), Fault> {
        self.work = self.work.checked_sub(1 + bytes / 16).ok_or(Fault::TooMuch("work"))?;
        Ok(())
    }

    fn list(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, Fault> {
        if self.depth == DEPTH_MAX {
            return Err(Fault::TooMuch("250 levels of nesting"));
        }
        self.depth += 1;
        let flow = self.nodes(nodes, dot);
        self.depth -= 1;
        flow
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, Fault> {
        for node in nodes {
            self.spend(0)?;
            match node {
                Node::Text(text) => {
                    self.spend(text.len())?;
                    self.out.write(text)?;
                }
                Node::Action(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        self.out.write(&format::plain(&value))?;
                    }
                }
                Node::If(branch) => {
                    let known = self.variables.len();
                    let chosen =
                        if self.pipeline(&branch.on, dot)?.is_true() { &branch.then } else { &branch.otherwise };
                    let flow = self.list(chosen, dot)?;
                    self.variables.truncate(known);
                    if flow != Flow::Next {
                        return Ok(flow);
                    }
                }
                Node::With(branch) => {
                    let known = self.variables.len();
                    let value = self.pipeline(&branch.on, dot)?;
                    let flow = if value.is_true() {
                        self.list(&branch.then, &value)
                    } else {
                        self.list(&branch.otherwise, dot)
                    }?;
                    self.variables.truncate(known);
                    if flow != Flow::Next {
                        return Ok(flow);
                    }
                }
                Node::Range(branch) => {
                    let known = self.variables.len();
                    let flow = self.range(branch, dot)?;
                    self.variables.truncate(known);
                    if flow != Flow::Next {
                        return Ok(flow);
                    }
                }
                Node::Template { at, name, with } => self.template(*at, name, with.as_ref(), dot)?,
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
            }
        }
        Ok(Flow::Next)
    }

    fn range(&mut self, branch: &Branch, dot: &Value) -> Result<Flow, Fault> {
        let over = self.commands(&branch.on, dot)?;
        let mut items: Box<dyn Iterator<Item = (Value, Value)>> = match &over {
            Value::Map(map) => {
                let map = Rc::clone(map);
                let pairs: Vec<_> =
                    map.iter().map(|(key, value)| (Value::text(key.as_slice()), value.clone())).collect();
                Box::new(pairs.into_iter())
            }
            Value::Int(count) => Box::new((0..*count).map(|number| (Value::Int(number), Value::Int(number)))),
            other => return Err(Fault::at(branch.on.at, format!("a range cannot go over a {}", other.kind()))),
        };
        let Some(first) = items.next() else { return self.list(&branch.otherwise, dot) };
        let known = self.variables.len();
        for (key, value) in std::iter::once(first).chain(items) {
            self.spend(0)?;
            match branch.on.variables.as_slice() {
                [] => {}
                [one] => self.set(&branch.on, one, value.clone()),
                [first, second, ..] => {
                    self.set(&branch.on, first, key);
                    self.set(&branch.on, second, value.clone());
                }
            }
            let flow = self.list(&branch.then, &value)?;
            self.variables.truncate(known);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    fn template(&mut self, at: Offset, name: &[u8], with: Option<&Pipeline>, dot: &Value) -> Result<(), Fault> {
        let unknown = || Fault::at(at, format!("template {:?} is not defined", String::from_utf8_lossy(name)));
        let body = Rc::clone(self.template.named.get(name).ok_or_else(unknown)?);
        let dot = match with {
            Some(pipeline) => {
                let known = self.variables.len();
                let value = self.pipeline(pipeline, dot)?;
                self.variables.truncate(known);
                value
            }
            None => Value::Nil,
        };
        let outside = std::mem::replace(&mut self.variables, vec![(String::new(), dot.clone())]);
        let flow = self.list(&body, &dot);
        self.variables = outside;
        flow.map(drop)
    }

    /// The value of a pipeline, which also goes into its variable.
    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Fault> {
        let value = self.commands(pipeline, dot)?;
        if let [name] = pipeline.variables.as_slice() {
            self.set(pipeline, name, value.clone());
        }
        Ok(value)
    }

    fn set(&mut self, pipeline: &Pipeline, name: &str, value: Value) {
        if pipeline.declares {
            self.variables.push((name.to_owned(), value));
        } else if let Some(variable) = self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            variable.1 = value;
        }
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Fault> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Value::Nil))
    }

    /// The value of one command, given the value of the one before it.
    fn command(&mut self, command: &Command, dot: &Value, piped: Option<Value>) -> Result<Value, Fault> {
        let (first, arguments) = command.operands.split_first().expect("invariant: a command has an operand");
        let Base::Function(name) = &first.base else {
            if let Some(argument) = arguments.first().map(|operand| operand.at).or(piped.map(|_| command.at)) {
                return Err(Fault::at(argument, "only a function takes arguments"));
            }
            return self.operand(first, dot);
        };
        let value = match name.as_str() {
            "and" | "or" => self.choose(name == "or", command.at, arguments, dot, piped)?,
            _ => {
                let mut values = Vec::with_capacity(arguments.len() + 1);
                for argument in arguments {
                    values.push(self.operand(argument, dot)?);
                }
                values.extend(piped);
                self.spend(values.iter().map(Value::weight).sum())?;
                let called = functions::call(name, &values, self.ambient);
                called.map_err(|message| Fault::at(command.at, format!("{name}: {message}")))?
            }
        };
        if value.weight() > format::VALUE_BYTES_MAX {
            return Err(Fault::TooMuch("4 MiB in one value"));
        }
        // Making it took work, too: maps weigh nothing until they are printed.
        self.spend(value.weight())?;
        self.spend(value.weight())?;
        Ok(value)
    }

    /// `and`, `or`: the first value that decides, or the last one. What comes after is not looked at.
    fn choose(
        &mut self,
        or: bool,
        at: Offset,
        arguments: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Fault> {
        let mut last = None;
        for argument in arguments {
            let value = self.operand(argument, dot)?;
            if value.is_true() == or {
                return Ok(value);
            }
            last = Some(value);
        }
        piped.or(last).ok_or_else(|| Fault::at(at, "and, or: a value is missing"))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, Fault> {
        self.spend(0)?;
        let mut path = String::new();
        let mut value = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Nil => Value::Nil,
            Base::Bool(value) => Value::Bool(*value),
            Base::Int(number) => Value::Int(*number),
            Base::Float(number) => Value::Float(*number),
            Base::Str(text) => Value::text(text.as_slice()),
            Base::Variable(name) => {
                path = format!("${name}");
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                found.expect("invariant: the parser knows all variables").1.clone()
            }
            Base::Function(name) => {
                let called = functions::call(name, &[], self.ambient);
                called.map_err(|message| Fault::at(operand.at, format!("{name}: {message}")))?
            }
            Base::Nested(pipeline) => {
                path = "(…)".to_owned();
                let known = self.variables.len();
                let value = self.pipeline(pipeline, dot)?;
                self.variables.truncate(known);
                value
            }
        };
        for (at, name) in &operand.fields {
            value = field(&value, name, &path).map_err(|message| Fault::at(*at, message))?;
            path.push('.');
            path.push_str(name);
        }
        Ok(value)
    }
}

/// A field of a value; `path` says how we came to the value.
fn field(value: &Value, name: &str, path: &str) -> Result<Value, String> {
    let place = if path.is_empty() { "." } else { path };
    match value {
        Value::Struct(fields) => {
            let found = fields.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.clone()).ok_or_else(|| format!("{place} has no field {name}"))
        }
        Value::Map(map) => map.get(name.as_bytes()).cloned().ok_or_else(|| format!("{place} has no entry {name:?}")),
        other => Err(format!("{place} is a {} and has no field {name}", other.kind())),
    }
}
