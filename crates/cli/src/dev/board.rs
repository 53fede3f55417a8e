//! The live table on a terminal.

use std::{
    io::{self, Write},
    time::SystemTime,
};

use crossterm::{
    cursor::{Hide, MoveTo, MoveToNextLine, Show},
    queue,
    style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor},
    terminal::{
        BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
        EnterAlternateScreen, LeaveAlternateScreen,
    },
};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use swarmkit_api::TaskState;

use super::world::{Row, World};
use crate::output::{Columns, since};

/// The terminal while it shows the table. Dropping it gives the terminal back as it was.
pub(crate) struct Board<W: Write> {
    out: W,
    /// How the terminal was; `None` when it is none.
    before: Option<Termios>,
}

// === impl Board ===

impl<W: Write> Board<W> {
    /// Takes over the terminal.
    ///
    /// # Errors
    ///
    /// When it cannot be written to.
    pub(crate) fn open(mut out: W) -> io::Result<Self> {
        queue!(out, EnterAlternateScreen, Hide, DisableLineWrap)?;
        out.flush()?;
        Ok(Self { out, before: silence() })
    }

    /// Shows a picture.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub(crate) fn draw(&mut self, lines: &[Line], height: u16) -> io::Result<()> {
        queue!(self.out, BeginSynchronizedUpdate, MoveTo(0, 0))?;
        let fits = usize::from(height.max(2));
        let (shown, hidden) = lines.split_at(lines.len().min(if lines.len() > fits { fits - 1 } else { fits }));
        for (index, line) in shown.iter().enumerate() {
            if index > 0 {
                queue!(self.out, MoveToNextLine(1))?;
            }
            line.queue(&mut self.out)?;
        }
        if !hidden.is_empty() {
            queue!(self.out, MoveToNextLine(1))?;
            Line::new(Look::Dim, format!("… and {} more lines", hidden.len())).queue(&mut self.out)?;
        }
        queue!(self.out, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        self.out.flush()
    }
}

impl<W: Write> Drop for Board<W> {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = queue!(self.out, EnableLineWrap, Show, LeaveAlternateScreen).and_then(|()| self.out.flush());
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Keys that are pressed must not show up in the table. Ctrl-C goes on working.
fn silence() -> Option<Termios> {
    let before = tcgetattr(io::stdin()).ok()?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
    tcsetattr(io::stdin(), OptionalActions::Now, &silent).ok()?;
    Some(before)
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Plain,
    Title,
    Dim,
    Good,
    Waiting,
    Bad,
}

/// One line of the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    look: Look,
    text: String,
}

impl Line {
    pub(crate) fn new(look: Look, text: impl Into<String>) -> Self {
        Self { look, text: text.into() }
    }

    fn queue(&self, out: &mut impl Write) -> io::Result<()> {
        match self.look {
            Look::Plain => {}
            Look::Title => queue!(out, SetAttribute(Attribute::Bold))?,
            Look::Dim => queue!(out, SetAttribute(Attribute::Dim))?,
            Look::Good => queue!(out, SetForegroundColor(Color::Green))?,
            Look::Waiting => queue!(out, SetForegroundColor(Color::Yellow))?,
            Look::Bad => queue!(out, SetForegroundColor(Color::Red))?,
        }
        // What tasks and managers say must not steer the terminal.
        let text: String = self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        queue!(out, Print(text), ResetColor, SetAttribute(Attribute::Reset), Clear(ClearType::UntilNewLine))
    }
}

/// The table of services and tasks, without colours.
pub(crate) fn table(world: &World, now: SystemTime) -> String {
    columns(&world.rows(), now).to_string()
}

/// The same for the terminal.
pub(crate) fn picture(header: &[String], world: &World, now: SystemTime, logs: &[String]) -> Vec<Line> {
    let rows = world.rows();
    let looks = [Look::Title, Look::Dim].into_iter().chain(rows.iter().map(look));
    let table = columns(&rows, now).to_string();
    let mut lines: Vec<_> = header.iter().map(|line| Line::new(Look::Plain, line)).collect();
    lines.push(Line::new(Look::Plain, ""));
    lines.extend(table.lines().zip(looks).map(|(text, look)| Line::new(look, text.trim_end())));
    if rows.is_empty() {
        lines.push(Line::new(Look::Dim, "no tasks yet"));
    }
    if !logs.is_empty() {
        lines.push(Line::new(Look::Plain, ""));
        lines.extend(logs.iter().map(|line| Line::new(Look::Dim, line)));
    }
    lines
}

fn columns(rows: &[Row], now: SystemTime) -> Columns {
    let mut columns = Columns::spaced(2).titled(&["Service", "Task", "State", "Node", "Restarts", "Age", "Note"]);
    for row in rows {
        columns.row([
            row.service.clone(),
            row.task.clone(),
            row.state.as_str_name().to_owned(),
            row.node.clone(),
            row.restarts.to_string(),
            since(row.since.as_ref(), now),
            row.note.clone(),
        ]);
    }
    columns
}

fn look(row: &Row) -> Look {
    match row.state {
        _ if row.is_settled => Look::Good,
        TaskState::Failed | TaskState::Rejected | TaskState::Orphaned => Look::Bad,
        _ if row.note.is_empty() => Look::Waiting,
        _ => Look::Bad,
    }
}
