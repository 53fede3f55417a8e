//! From tokens to a tree.

use std::{collections::BTreeMap, rc::Rc};

use crate::{
    error::Fault,
    functions,
    lexer::{self, Lexeme, Offset, Token},
};

/// How deep actions, and parentheses within them, may be nested.
const DEPTH_MAX: usize = 100;

/// A template, and those that it defines.
#[derive(Debug, Default)]
pub(crate) struct Template {
    pub(crate) main: Rc<[Node]>,
    pub(crate) named: BTreeMap<Vec<u8>, Rc<[Node]>>,
}

#[derive(Debug)]
pub(crate) enum Node {
    Text(Vec<u8>),
    /// `{{pipeline}}`: gives its value to the output, unless it sets a variable.
    Action(Pipeline),
    If(Branch),
    With(Branch),
    Range(Branch),
    /// `{{template "name" pipeline}}`
    Template {
        at: Offset,
        name: Vec<u8>,
        with: Option<Pipeline>,
    },
    Break,
    Continue,
}

/// A condition and what depends on it.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) on: Pipeline,
    pub(crate) then: Vec<Node>,
    pub(crate) otherwise: Vec<Node>,
}

/// Commands, each of which gets the value of the one before as its last argument.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) at: Offset,
    /// The variables that it sets: one, or two in a range.
    pub(crate) variables: Vec<String>,
    /// Whether they are new ones (`:=`).
    pub(crate) declares: bool,
    pub(crate) commands: Vec<Command>,
}

#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) at: Offset,
    /// What is called or evaluated, and its arguments.
    pub(crate) operands: Vec<Operand>,
}

#[derive(Debug)]
pub(crate) struct Operand {
    pub(crate) at: Offset,
    pub(crate) base: Base,
    /// `.A.B` after it.
    pub(crate) fields: Vec<(Offset, String)>,
}

#[derive(Debug)]
pub(crate) enum Base {
    Dot,
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Vec<u8>),
    Variable(String),
    Function(String),
    Nested(Pipeline),
}

/// Reads a template.
pub(crate) fn parse(source: &[u8]) -> Result<Template, Fault> {
    let tokens = lexer::tokens(source)?;
    let mut parser = Parser {
        tokens,
        at: 0,
        end: source.len(),
        scope: vec![String::new()],
        loops: 0,
        depth: 0,
        named: BTreeMap::new(),
    };
    let (main, end) = parser.list(&[])?;
    debug_assert!(end.is_none(), "without ends to look for, a list ends with the template");
    Ok(Template { main: main.into(), named: parser.named })
}

struct Parser {
    tokens: Vec<Lexeme>,
    /// How many of them are taken.
    at: usize,
    /// Where the template ends.
    end: Offset,
    /// The variables that are known; the first is `$`.
    scope: Vec<String>,
    /// How many ranges we are in.
    loops: usize,
    depth: usize,
    named: BTreeMap<Vec<u8>, Rc<[Node]>>,
}

impl Parser {
    fn next(&mut self) -> Result<Lexeme, Fault> {
        let lexeme = self.ahead().cloned().ok_or_else(|| Fault::at(self.end, "the template ends too early"))?;
        self.at += 1;
        Ok(lexeme)
    }

    fn ahead(&self) -> Option<&Lexeme> {
        self.tokens.get(self.at)
    }

    fn peek(&self) -> Option<&Token> {
        self.ahead().map(|lexeme| &lexeme.token)
    }

    /// Where we are.
    fn here(&self) -> Offset {
        self.ahead().map_or(self.end, |lexeme| lexeme.at)
    }

    fn take(&mut self, mark: &'static str) -> bool {
        let found = self.peek() == Some(&Token::Mark(mark));
        if found {
            self.at += 1;
        }
        found
    }

    fn close(&mut self) -> Result<(), Fault> {
        let lexeme = self.next()?;
        if lexeme.token == Token::Close { Ok(()) } else { Err(unexpected(&lexeme)) }
    }

    /// Runs one level deeper; variables that are declared there are forgotten after.
    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth == DEPTH_MAX {
            return Err(Fault::TooMuch("100 levels of nesting"));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Nodes up to one of the `ends` (or the end of the template, if there are none), and which it was.
    fn list(&mut self, ends: &[&str]) -> Result<(Vec<Node>, Option<Lexeme>), Fault> {
        let mut nodes = Vec::new();
        loop {
            if self.peek().is_none() && ends.is_empty() {
                return Ok((nodes, None));
            }
            let lexeme = self.next()?;
            if let Token::Text(text) = lexeme.token {
                nodes.push(Node::Text(text));
                continue;
            }
            if let Some(Token::Word(word)) = self.peek()
                && matches!(word.as_str(), "end" | "else")
            {
                let end = self.next()?;
                let listed = matches!(&end.token, Token::Word(word) if ends.contains(&word.as_str()));
                return if listed { Ok((nodes, Some(end))) } else { Err(unexpected(&end)) };
            }
            nodes.extend(self.deeper(|parser| parser.action(lexeme.at))?);
        }
    }

    /// What stands between `{{` and `}}`, with everything up to its end.
    fn action(&mut self, open: Offset) -> Result<Option<Node>, Fault> {
        let word = match self.peek() {
            Some(Token::Word(word)) => word.clone(),
            _ => String::new(),
        };
        match word.as_str() {
            "if" | "with" | "range" => {
                self.at += 1;
                self.branch(&word).map(Some)
            }
            "break" | "continue" => {
                let lexeme = self.next()?;
                if self.loops == 0 {
                    return Err(Fault::at(lexeme.at, format!("{word} outside of a range")));
                }
                self.close()?;
                Ok(Some(if word == "break" { Node::Break } else { Node::Continue }))
            }
            "template" => {
                self.at += 1;
                let name = self.name()?;
                let with = if self.peek() == Some(&Token::Close) { None } else { Some(self.pipeline(false)?) };
                self.close()?;
                Ok(Some(Node::Template { at: open, name, with }))
            }
            "define" => {
                self.at += 1;
                if self.depth > 1 {
                    return Err(Fault::at(open, "define inside of another action"));
                }
                let name = self.name()?;
                self.close()?;
                self.definition(open, name)?;
                Ok(None)
            }
            "block" => {
                self.at += 1;
                let name = self.name()?;
                let with = Some(self.pipeline(false)?);
                self.close()?;
                self.definition(open, name.clone())?;
                Ok(Some(Node::Template { at: open, name, with }))
            }
            _ => {
                let pipeline = self.pipeline(false)?;
                self.close()?;
                Ok(Some(Node::Action(pipeline)))
            }
        }
    }

    /// The name of a template.
    fn name(&mut self) -> Result<Vec<u8>, Fault> {
        let lexeme = self.next()?;
        match lexeme.token {
            Token::Str(name) => Ok(name),
            _ => Err(Fault::at(lexeme.at, "the name of a template is a text in quotes")),
        }
    }

    /// The body of a named template, which sees no variables but `$`.
    fn definition(&mut self, at: Offset, name: Vec<u8>) -> Result<(), Fault> {
        let (scope, loops) = (std::mem::replace(&mut self.scope, vec![String::new()]), std::mem::take(&mut self.loops));
        let (body, _) = self.list(&["end"])?;
        self.close()?;
        (self.scope, self.loops) = (scope, loops);
        // What is empty may be replaced, and replaces nothing.
        match self.named.get(&name) {
            Some(known) if !is_empty(known) && !is_empty(&body) => {
                Err(Fault::at(at, format!("template {:?} is defined twice", String::from_utf8_lossy(&name))))
            }
            Some(known) if !is_empty(known) => Ok(()),
            _ => {
                self.named.insert(name, body.into());
                Ok(())
            }
        }
    }

    /// `if`, `with` or `range`, after the word.
    fn branch(&mut self, word: &str) -> Result<Node, Fault> {
        let known = self.scope.len();
        let on = self.pipeline(word == "range")?;
        self.close()?;
        let inside = usize::from(word == "range");
        self.loops += inside;
        let (then, end) = self.list(&["end", "else"])?;
        self.loops -= inside;
        let ended = matches!(end, Some(Lexeme { token: Token::Word(end), .. }) if end == "end");
        let otherwise = match self.peek() {
            _ if ended => {
                self.close()?;
                Vec::new()
            }
            // {{else if}}: one end closes both.
            Some(Token::Word(next)) if next == word && word != "range" => {
                self.at += 1;
                vec![self.deeper(|parser| parser.branch(word))?]
            }
            _ => {
                self.close()?;
                let (otherwise, _) = self.list(&["end"])?;
                self.close()?;
                otherwise
            }
        };
        self.scope.truncate(known);
        let branch = Branch { on, then, otherwise };
        Ok(match word {
            "if" => Node::If(branch),
            "with" => Node::With(branch),
            _ => Node::Range(branch),
        })
    }

    /// Commands up to `}}` or `)`, which is left.
    fn pipeline(&mut self, in_range: bool) -> Result<Pipeline, Fault> {
        let at = self.here();
        let (variables, declares) = self.variables(in_range)?;
        let mut commands = vec![self.command()?];
        while self.take("|") {
            let command = self.command()?;
            let first = &command.operands[0];
            let callable = matches!(first.base, Base::Function(_) | Base::Variable(_) | Base::Dot | Base::Nested(_));
            if !callable {
                return Err(Fault::at(command.at, "a constant cannot be given a value"));
            }
            commands.push(command);
        }
        if declares {
            self.scope.extend(variables.iter().cloned());
        }
        Ok(Pipeline { at, variables, declares, commands })
    }

    /// `$x :=`, `$x =`, or in a range `$k, $v :=`.
    fn variables(&mut self, in_range: bool) -> Result<(Vec<String>, bool), Fault> {
        // Only what follows tells a variable that is set from one that is used.
        let mut ahead = self.tokens[self.at..].iter();
        let mut names = Vec::new();
        while let Some(Lexeme { token: Token::Variable(name), at, .. }) = ahead.next() {
            names.push((*at, name.clone()));
            match ahead.next().map(|lexeme| &lexeme.token) {
                Some(Token::Mark(",")) if in_range && names.len() == 1 => {}
                Some(Token::Mark(mark @ (":=" | "="))) => {
                    let unknown = names.iter().find(|(_, name)| *mark == "=" && !self.scope.contains(name));
                    if let Some((at, name)) = unknown {
                        return Err(Fault::at(*at, format!("undefined variable ${name}")));
                    }
                    self.at += 2 * names.len();
                    return Ok((names.into_iter().map(|(_, name)| name).collect(), *mark == ":="));
                }
                _ => break,
            }
        }
        Ok((Vec::new(), false))
    }

    fn command(&mut self) -> Result<Command, Fault> {
        let at = self.here();
        let mut operands = Vec::new();
        loop {
            match self.ahead() {
                None | Some(Lexeme { token: Token::Close | Token::Mark("|" | ")"), .. }) => break,
                Some(lexeme) if !operands.is_empty() && !lexeme.spaced => {
                    return Err(Fault::at(lexeme.at, "a space is missing"));
                }
                Some(_) => operands.push(self.operand()?),
            }
        }
        match operands.first() {
            None => Err(Fault::at(at, "a value is missing")),
            Some(Operand { base: Base::Nil, .. }) => Err(Fault::at(at, "nil is not a command")),
            Some(_) => Ok(Command { at, operands }),
        }
    }

    fn operand(&mut self) -> Result<Operand, Fault> {
        let lexeme = self.next()?;
        let at = lexeme.at;
        let mut fields = Vec::new();
        let base = match lexeme.token {
            Token::Dot => Base::Dot,
            Token::Field(name) => {
                fields.push((at, name));
                Base::Dot
            }
            Token::Variable(name) if self.scope.contains(&name) => Base::Variable(name),
            Token::Variable(name) => return Err(Fault::at(at, format!("undefined variable ${name}"))),
            Token::Int(number) => Base::Int(number),
            Token::Float(number) => Base::Float(number),
            Token::Str(text) => Base::Str(text),
            Token::Word(word) => match word.as_str() {
                "true" | "false" => Base::Bool(word == "true"),
                "nil" => Base::Nil,
                _ if functions::is_known(&word) => Base::Function(word),
                _ => return Err(Fault::at(at, format!("function {word:?} not defined"))),
            },
            Token::Mark("(") => {
                let nested = self.deeper(|parser| parser.pipeline(false))?;
                if !self.take(")") {
                    return Err(Fault::at(at, "this parenthesis is not closed"));
                }
                Base::Nested(nested)
            }
            _ => return Err(unexpected(&lexeme)),
        };
        while let Some(Lexeme { token: Token::Field(name), at, spaced: false }) = self.ahead() {
            fields.push((*at, name.clone()));
            self.at += 1;
        }
        let plain = matches!(
            base,
            Base::Nil | Base::Bool(_) | Base::Int(_) | Base::Float(_) | Base::Str(_) | Base::Function(_)
        );
        match fields.first() {
            Some((at, name)) if plain => Err(Fault::at(*at, format!("a constant or function has no field {name}"))),
            _ => Ok(Operand { at, base, fields }),
        }
    }
}

/// Whether a body writes nothing but white space.
fn is_empty(body: &[Node]) -> bool {
    body.iter().all(|node| matches!(node, Node::Text(text) if text.trim_ascii().is_empty()))
}

fn unexpected(lexeme: &Lexeme) -> Fault {
    let what = match &lexeme.token {
        Token::Text(_) => "text".to_owned(),
        Token::Open => "{{".to_owned(),
        Token::Close => "}}".to_owned(),
        Token::Word(word) => word.clone(),
        Token::Field(name) => format!(".{name}"),
        Token::Dot => ".".to_owned(),
        Token::Variable(name) => format!("${name}"),
        Token::Int(number) => number.to_string(),
        Token::Float(number) => number.to_string(),
        Token::Str(_) => "text in quotes".to_owned(),
        Token::Mark(mark) => (*mark).to_owned(),
    };
    Fault::at(lexeme.at, format!("unexpected {what}"))
}
