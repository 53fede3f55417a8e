//! What a supervisor can be told, through its pipe.

use std::{
    fs::File,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use rustix::{fs::OFlags, process::Signal};

use crate::plan::Stop;

/// An order to a supervisor: one short line, so that it is written and read whole.
///
/// A supervisor may be older than the program that talks to it, so lines are only ever added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Send the signal to the process, and kill everything when the grace is over.
    Stop(Stop),
    /// Kill everything.
    Kill,
}

impl Order {
    /// Gives the order; `false` if no supervisor is there to take it.
    pub(crate) fn give(self, control: &Path) -> io::Result<bool> {
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).expect("invariant: a flag of open fits its argument");
        let opened = File::options().write(true).custom_flags(nonblocking).open(control);
        let mut pipe = match opened {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        match pipe.write_all(self.line().as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            // Full of orders that nobody reads: the caller sees that nothing happens, and acts.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            written => written.map(|()| true),
        }
    }

    fn line(self) -> String {
        match self {
            Self::Stop(Stop { signal, grace }) => format!("stop {} {}\n", signal.as_raw(), grace.as_millis()),
            Self::Kill => "kill\n".to_owned(),
        }
    }

    /// Reads a line. `None` for what this version does not know.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        match words.next()? {
            "kill" => Some(Self::Kill),
            "stop" => {
                let signal = Signal::from_named_raw(words.next()?.parse().ok()?)?;
                let grace = Duration::from_millis(words.next()?.parse().ok()?);
                Some(Self::Stop(Stop { signal, grace }))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_are_written() {
        for order in [Order::Kill, Order::Stop(Stop { signal: Signal::INT, grace: Duration::from_millis(2500) })] {
            assert_eq!(Order::parse(&order.line()), Some(order));
        }
        for line in ["", "stop", "stop 15", "stop x 1", "stop 15 -1", "dance"] {
            assert_eq!(Order::parse(line), None, "{line}");
        }
    }

    #[test]
    fn an_order_to_nobody_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control");
        assert!(!Order::Kill.give(&path).unwrap());
        crate::alive::make_pipe(&path).unwrap();
        assert!(!Order::Kill.give(&path).unwrap());
    }
}
