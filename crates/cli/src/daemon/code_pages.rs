//! Giving back the memory that held code which only starting up has needed.
//!
//! Of a program as large as this one, the system shows some 20 MB as resident after its start: pages of its file that were
//! touched once, with their neighbours. They could be read again at any time, but nothing takes them away while the machine
//! has memory left. So they are let go once the node has settled; what it goes on using comes back by itself, page by
//! page, most of it without reading the disk.

use std::{fs, io, ptr};

use rustix::mm::{Advice, madvise};

/// Beside the program itself, the libraries that it is linked with. They are never unloaded, which matters below.
const LINKED: [&str; 4] = ["libc.so", "libm.so", "libgcc_s.so", "ld-linux"];

/// A part of this process' memory that shows a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: usize,
    bytes: usize,
}

/// Lets go of all pages of code and constants of this process. They are read again when they are needed.
///
/// # Errors
///
/// When the system does not say what this process has mapped, or does not take the advice.
#[expect(unsafe_code, reason = "the system is told to forget memory of this process")]
pub(super) fn give_back() -> io::Result<()> {
    let program = fs::read_link("/proc/self/exe")?;
    let maps = fs::read_to_string("/proc/self/smaps")?;
    for Range { start, bytes } in unwritten(&maps, &program.to_string_lossy()) {
        // SAFETY: the range shows a file, cannot be written, and no page of it differs from the file, so whoever reads it
        // afterwards finds what was there before. It is the program's own or that of a library that stays loaded, so nothing
        // else has come to its place meanwhile.
        unsafe { madvise(ptr::with_exposed_provenance_mut(start), bytes, Advice::LinuxDontNeed) }?;
    }
    Ok(())
}

/// The ranges that read the same after they were forgotten, out of `/proc/PID/smaps`.
fn unwritten(maps: &str, program: &str) -> Vec<Range> {
    let (mut ranges, mut candidate) = (Vec::new(), None);
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("Anonymous:"), Some(kilobytes)) => {
                // What was written privately (addresses that the loader has filled in) would be lost.
                ranges.extend(candidate.take().filter(|_| kilobytes == "0"));
            }
            (Some(first), Some(rights)) if !first.ends_with(':') => {
                let file = words.nth(3).filter(|file| *file == program || is_linked(file));
                candidate = file.filter(|_| matches!(rights, "r-xp" | "r--p")).and_then(|_| range(first));
            }
            _ => {}
        }
    }
    ranges
}

fn is_linked(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or_default();
    file.starts_with('/') && LINKED.iter().any(|linked| name.starts_with(linked))
}

fn range(addresses: &str) -> Option<Range> {
    let (start, end) = addresses.split_once('-')?;
    let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).ok());
    Some(Range { start: start?, bytes: end?.checked_sub(start?)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55d000000000-55d000002000 r--p 00000000 fe:00 77 /bin/swarmd
Rss:                   8 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
55d000002000-55d000005000 r-xp 00002000 fe:00 77 /bin/swarmd
Anonymous:             0 kB
55d000005000-55d000006000 r--p 00005000 fe:00 77 /bin/swarmd
Anonymous:             4 kB
55d000006000-55d000007000 rw-p 00006000 fe:00 77 /bin/swarmd
Anonymous:             0 kB
55d100000000-55d100001000 rw-p 00000000 00:00 0 [heap]
Anonymous:             4 kB
7f0000000000-7f0000001000 r-xp 00000000 fe:00 78 /usr/lib/x86_64-linux-gnu/libc.so.6
Anonymous:             0 kB
7f0000001000-7f0000002000 r--s 00000000 fe:00 79 /usr/lib/libc.so.6
Anonymous:             0 kB
7f0000002000-7f0000003000 r-xp 00000000 fe:00 80 /usr/lib/libnss_dns.so.2
Anonymous:             0 kB
7f0000003000-7f0000004000 r-xp 00000000 00:00 0
Anonymous:             0 kB
";

    #[test]
    fn only_what_reads_the_same_again_is_let_go() {
        let found: Vec<_> = unwritten(MAPS, "/bin/swarmd").iter().map(|range| (range.start, range.bytes)).collect();
        assert_eq!(found, [(0x55d0_0000_0000, 0x2000), (0x55d0_0000_2000, 0x3000), (0x7f00_0000_0000, 0x1000)]);
    }

    #[test]
    fn this_program_goes_on_after_its_code_was_let_go() {
        give_back().unwrap();
        assert_eq!(is_linked("/lib64/ld-linux-x86-64.so.2"), LINKED.contains(&"ld-linux"));
    }
}
