//! Letting go of what the program that started us had open.

use std::{fs, io};

/// The first number that is none of the standard streams.
const FIRST: i32 = 3;

/// Closes every file beyond the standard streams that was open when this process began.
///
/// A supervisor outlives the program that started it, and must not keep its pipes, sockets and locks open; nor should
/// a task find them. To be called before anything is opened.
#[expect(unsafe_code, reason = "a file that was inherited has no owner that could close it")]
pub(super) fn close() -> io::Result<()> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    // Among them is the one by which the list was read, which is closed by now.
    numbers.retain(|number| *number >= FIRST && fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok());
    for number in numbers {
        // SAFETY: the number is open, and nobody here has it: nothing was opened since this process began but the list.
        unsafe { rustix::io::close(number) };
    }
    Ok(())
}
