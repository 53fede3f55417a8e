//! What tasks write: captured line by line into numbered files of bounded size.
//!
//! A line in a file is `<time> <stdout|stderr> <F|P> <text>`: F for a full line, P for a part of a longer one, the
//! format that container runtimes use. The writer is the task's supervisor; it begins a new file when one is full, and
//! deletes the oldest. Readers follow the numbers.

mod line;
mod reader;
mod watch;
mod writer;

use serde::{Deserialize, Serialize};
use swarmkit_api::wire;
use swarmkit_executor::Cause;

pub(crate) use reader::read;
pub(crate) use watch::DirWatch;
pub(crate) use writer::{Capture, LogWriter};

/// The log drivers of container engines that keep files, as we do.
pub(crate) const LOG_DRIVERS: [&str; 2] = ["json-file", "local"];

/// How much of a task's output is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// How large a file grows before the next one is begun, in bytes.
    pub file_bytes: u64,
    /// How many files are kept. 0 keeps nothing.
    pub files: u32,
}

impl Default for LogLimits {
    /// Two files of 5 MiB.
    fn default() -> Self {
        Self { file_bytes: 5 << 20, files: 2 }
    }
}

impl LogLimits {
    /// The limits for a task with a log driver: files is all we do, so the drivers that keep files are taken for ours,
    /// with their options `max-size` and `max-file`.
    pub(crate) fn for_driver(self, driver: Option<&wire::Driver>) -> Result<Self, Cause> {
        let Some(driver) = driver else { return Ok(self) };
        let mut limits = match driver.name.as_str() {
            "" => self,
            name if LOG_DRIVERS.contains(&name) => self,
            "none" => return Ok(Self { files: 0, ..self }),
            other => return Err(format!("unknown log driver {other:?}: a process has json-file, local or none").into()),
        };
        for (option, value) in &driver.options {
            match option.as_str() {
                "max-size" => limits.file_bytes = size(value)?,
                "max-file" => {
                    limits.files = value.parse().map_err(|_| format!("log option max-file={value:?}: not a number"))?
                }
                other => return Err(format!("unknown log option {other:?}: there are max-size and max-file").into()),
            }
        }
        Ok(limits)
    }
}

/// Reads `10m`: bytes, or with k, m or g.
fn size(text: &str) -> Result<u64, Cause> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        _ => return Err(format!("log option max-size={text:?}: not a size").into()),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| format!("log option max-size={text:?}: not a size").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(name: &str, options: &[(&str, &str)]) -> Result<LogLimits, String> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let driver = wire::Driver { name: name.into(), options };
        LogLimits::default().for_driver(Some(&driver)).map_err(|error| error.to_string())
    }

    #[test]
    fn file_drivers_are_taken_with_their_options_and_others_are_refused() {
        let set = limits("json-file", &[("max-size", "10m"), ("max-file", "3")]).unwrap();
        assert_eq!(set, LogLimits { file_bytes: 10 << 20, files: 3 });
        assert_eq!(limits("", &[]).unwrap(), LogLimits::default());
        assert_eq!(limits("none", &[]).unwrap().files, 0);
        assert!(limits("syslog", &[]).unwrap_err().starts_with("unknown log driver \"syslog\""));
        assert!(limits("local", &[("compress", "true")]).unwrap_err().starts_with("unknown log option \"compress\""));
        for bad in ["", "m", "-1", "10x", "99999999999g", "0"] {
            assert!(limits("local", &[("max-size", bad)]).is_err(), "{bad}");
        }
    }
}
