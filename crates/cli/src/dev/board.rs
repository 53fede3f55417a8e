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

/// The lines above the rows of the table.
const TITLES: usize = 2;

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
    columns(&world.rows(), now).to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The same for a terminal with so many lines, below a header and above the end of the log.
pub(crate) fn picture(header: &[String], world: &World, now: SystemTime, logs: &[String], height: u16) -> Vec<Line> {
    let rows = world.rows();
    let others = header.len() + TITLES + if logs.is_empty() { 0 } else { logs.len() + 1 };
    let rows = if rows.len() + others > usize::from(height) { collapsed(rows) } else { rows };
    let looks = [Look::Title, Look::Dim].into_iter().chain(rows.iter().map(look));
    let table = columns(&rows, now).to_string();
    let mut lines: Vec<_> = header.iter().map(|line| Line::new(Look::Plain, line)).collect();
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

/// One row for all tasks of a service that are as they should be, so that the others can be seen.
fn collapsed(rows: Vec<Row>) -> Vec<Row> {
    let mut shown: Vec<Row> = Vec::new();
    let mut count = 0;
    for row in rows {
        match shown.last_mut() {
            Some(last) if last.is_settled && row.is_settled && last.service == row.service => {
                count += 1;
                last.task = format!("{count} tasks");
                last.restarts += row.restarts;
                if last.node != row.node {
                    last.node.clear();
                }
                // Since when all of this is so.
                let key = |time: &Option<prost_types::Timestamp>| time.map(|time| (time.seconds, time.nanos));
                if key(&row.since) > key(&last.since) {
                    last.since = row.since;
                }
            }
            _ => {
                count = 1;
                shown.push(row);
            }
        }
    }
    shown
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
        // It waits for others.
        TaskState::New => Look::Waiting,
        TaskState::Failed | TaskState::Rejected | TaskState::Orphaned => Look::Bad,
        _ if row.note.is_empty() => Look::Waiting,
        _ => Look::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(service: &str, slot: u64, state: TaskState) -> Row {
        Row {
            service: service.to_owned(),
            task: format!("{service}.{slot}"),
            state,
            node: "ada".to_owned(),
            restarts: 1,
            since: Some(prost_types::Timestamp { seconds: slot.cast_signed(), nanos: 0 }),
            note: String::new(),
            is_settled: state == TaskState::Running,
        }
    }

    #[test]
    fn neighbours_that_are_as_they_should_be_become_one_row() {
        let rows = vec![
            row("db", 1, TaskState::Running),
            row("web", 1, TaskState::Running),
            row("web", 2, TaskState::Running),
            row("web", 3, TaskState::Starting),
            row("web", 4, TaskState::Running),
        ];
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(10);
        let lines: Vec<_> = columns(&collapsed(rows), now).to_string().lines().map(str::to_owned).collect();
        let rows: Vec<_> = lines[2..].iter().map(|line| line.trim_end()).collect();
        assert_eq!(
            rows,
            [
                "db       db.1     RUNNING   ada   1         9s",
                "web      2 tasks  RUNNING   ada   2         8s",
                "web      web.3    STARTING  ada   1         7s",
                "web      web.4    RUNNING   ada   1         6s",
            ]
        );
    }

    #[test]
    fn a_picture_that_is_too_high_ends_with_how_much_is_hidden() {
        let lines: Vec<_> = (0..10).map(|line| Line::new(Look::Plain, format!("line {line}\u{1b}[2J"))).collect();
        let mut out = Vec::new();
        let mut board = Board { out: &mut out, before: None };
        board.draw(&lines, 4).unwrap();
        drop(board);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("line 2") && !text.contains("line 3") && text.contains("… and 7 more lines"), "{text:?}");
        assert!(!text.contains("\u{1b}[2J"), "what is shown must not steer the terminal: {text:?}");
    }
}
