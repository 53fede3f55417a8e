//! From the log files of a task to a stream of records.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use futures_util::{StreamExt as _, stream};
use swarmkit_executor::{ExecError, LogOptions, LogRecord, LogStart, LogStream};
use swarmkit_runtime::Spawner;

use super::{DirWatch, line, writer};
use crate::alive::Alive;

/// How many records are read at a time.
const BATCH: usize = 256;

/// Where a reader is in the files of a task.
struct Place {
    dir: PathBuf,
    options: LogOptions,
    file: Option<BufReader<File>>,
    /// The number of `file`, or 0 before the first.
    number: u32,
    /// A line that was read up to where the file ended at the time.
    torn: Vec<u8>,
}

/// A reader that follows: when to read again, and when there is no more.
struct Follow {
    alive: Alive,
    watch: DirWatch,
}

struct Reader {
    place: Place,
    follow: Option<Follow>,
    ready: VecDeque<LogRecord>,
    /// How many records to leave out.
    skip: u64,
    ended: bool,
}

/// Reads the files in `dir`. With `alive`, goes on until the task has ended.
pub(crate) async fn read(dir: PathBuf, options: LogOptions, alive: Option<Alive>) -> Result<LogStream, ExecError> {
    let follow = match alive {
        None => None,
        // Watched before the first reading, so that nothing that is written in between is missed.
        Some(alive) => Some(Follow { watch: DirWatch::new(&[&dir]).map_err(ExecError::temporary)?, alive }),
    };
    let (skip, place) = Spawner::blocking(move || {
        let place = Place { dir, options, file: None, number: 0, torn: Vec::new() };
        let skip = match options.start {
            LogStart::Oldest => 0,
            LogStart::Skip(skip) => skip,
            LogStart::Last(last) => place.count()?.saturating_sub(last),
        };
        Ok::<_, io::Error>((skip, place))
    })
    .await
    .map_err(ExecError::temporary)?
    .map_err(ExecError::temporary)?;
    let reader = Reader { place, follow, ready: VecDeque::new(), skip, ended: false };
    Ok(stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(record) => Some((Ok(record?), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed())
}

// === impl Reader ===

impl Reader {
    /// The next record that is wanted; `None` at the end.
    async fn next(&mut self) -> Result<Option<LogRecord>, ExecError> {
        loop {
            while let Some(record) = self.ready.pop_front() {
                match self.skip.checked_sub(1) {
                    None => return Ok(Some(record)),
                    Some(fewer) => self.skip = fewer,
                }
            }
            // Asked before reading: what was written before the end is there to be read after it.
            let ended = self.ended;
            if self.fill().await? {
                continue;
            }
            match &mut self.follow {
                None => return Ok(None),
                Some(_) if ended => return Ok(None),
                Some(follow) => {
                    tokio::select! { biased; // the end leads to one more reading, so a change is not lost by it
                        () = follow.alive.gone() => self.ended = true,
                        changed = follow.watch.changed() => changed.map_err(ExecError::temporary)?,
                    }
                }
            }
        }
    }

    /// Reads more records; `false` if there are none at this time.
    async fn fill(&mut self) -> Result<bool, ExecError> {
        let mut place = std::mem::take(&mut self.place);
        let (place, records) = Spawner::blocking(move || {
            let records = place.batch();
            (place, records)
        })
        .await
        .map_err(ExecError::temporary)?;
        self.place = place;
        self.ready.extend(records.map_err(ExecError::temporary)?);
        Ok(!self.ready.is_empty())
    }
}

// === impl Place ===

impl Default for Place {
    fn default() -> Self {
        Self { dir: PathBuf::new(), options: LogOptions::default(), file: None, number: 0, torn: Vec::new() }
    }
}

impl Place {
    /// How many wanted records there are at this time.
    fn count(&self) -> io::Result<u64> {
        let mut place = Self { dir: self.dir.clone(), options: self.options, ..Self::default() };
        let mut count = 0;
        loop {
            match place.batch()?.len() {
                0 => return Ok(count),
                more => count += more as u64,
            }
        }
    }

    /// The next wanted records; none at the end of the last file.
    fn batch(&mut self) -> io::Result<Vec<LogRecord>> {
        let mut records = Vec::new();
        while records.len() < BATCH && self.complete_line()? {
            self.torn.pop();
            let record = line::read(&self.torn);
            self.torn.clear();
            records.extend(record.filter(|record| self.wanted(record)));
        }
        Ok(records)
    }

    /// Reads on until `torn` holds a whole line; `false` if there is none at this time.
    fn complete_line(&mut self) -> io::Result<bool> {
        loop {
            if let Some(file) = &mut self.file {
                file.read_until(b'\n', &mut self.torn)?;
                if self.torn.ends_with(b"\n") {
                    return Ok(true);
                }
                if !numbers(&self.dir)?.into_iter().any(|number| number > self.number) {
                    return Ok(false);
                }
                // The writer begins a new file only after its last write to this one: what is here now is the rest.
                file.read_until(b'\n', &mut self.torn)?;
                if self.torn.ends_with(b"\n") {
                    return Ok(true);
                }
            }
            if !self.advance()? {
                return Ok(false);
            }
        }
    }

    fn wanted(&self, record: &LogRecord) -> bool {
        self.options.wants(record.source) && self.options.since.is_none_or(|since| record.timestamp >= since)
    }

    /// Opens the next file; `false` if there is none.
    fn advance(&mut self) -> io::Result<bool> {
        for number in numbers(&self.dir)?.into_iter().filter(|number| *number > self.number) {
            match File::open(writer::file(&self.dir, number)) {
                // Deleted by the writer since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(file) => {
                    (self.file, self.number) = (Some(BufReader::new(file)), number);
                    self.torn.clear();
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// The numbers of the files that there are, in order.
fn numbers(dir: &Path) -> io::Result<Vec<u32>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use swarmkit_executor::LogSource;

    use super::*;
    use crate::logs::{Capture, LogLimits, LogWriter};

    async fn texts(dir: &Path, options: LogOptions) -> Vec<String> {
        let records = read(dir.to_owned(), options, None).await.unwrap();
        records.map(|record| String::from_utf8(record.unwrap().data.to_vec()).unwrap()).collect().await
    }

    #[tokio::test]
    async fn records_are_read_across_files_from_where_they_are_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::create(dir.path(), LogLimits { file_bytes: 100, files: 50 }).unwrap();
        let (mut out, mut err) = (Capture::new(LogSource::Stdout), Capture::new(LogSource::Stderr));
        for n in 0..10 {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(n);
            out.absorb(&mut writer, at, format!("out {n}\n").as_bytes());
            err.absorb(&mut writer, at, format!("err {n}\n").as_bytes());
        }
        let all = LogOptions::default();
        assert_eq!(texts(dir.path(), all).await.len(), 20);
        let only_out = LogOptions { stderr: false, ..all };
        assert_eq!(texts(dir.path(), only_out).await.len(), 10);
        let last = LogOptions { start: LogStart::Last(2), ..only_out };
        assert_eq!(texts(dir.path(), last).await, ["out 8\n", "out 9\n"]);
        let rest = LogOptions { start: LogStart::Skip(18), ..all };
        assert_eq!(texts(dir.path(), rest).await, ["out 9\n", "err 9\n"]);
        let since = LogOptions { since: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(8)), ..only_out };
        assert_eq!(texts(dir.path(), since).await, ["out 8\n", "out 9\n"]);
    }

    #[tokio::test]
    async fn a_line_that_is_not_yet_complete_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(writer::file(dir.path(), 3), "1970-01-01T00:00:00Z stdout F whole\n1970-01-01T00:00:00Z std")
            .unwrap();
        assert_eq!(texts(dir.path(), LogOptions::default()).await, ["whole\n"]);
        assert!(texts(&dir.path().join("none"), LogOptions::default()).await.is_empty());
    }
}
