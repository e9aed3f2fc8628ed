//! The pages of the program's code that the process has mapped.
//!
//! A program is mapped page by page as its code is first run, and to save faults the system maps sixteen pages at a time. Of a
//! large program most of that is code that ran once, when it started, or never; it counts as the process's memory all the
//! same. Given back, a page stays in the system's cache of the file, and is mapped again when code on it runs.

/// Unmaps the program's code until it is run again. Takes about a millisecond, and the next work some milliseconds more,
/// in faults that read nothing from the disk while the file is cached.
///
/// Does nothing where the system does not tell where the code is.
pub fn give_back_code() {
    #[cfg(target_os = "linux")]
    for (start, length) in code_of_this_program() {
        #[expect(unsafe_code, reason = "a call into the C library")]
        // SAFETY: the range is one of this process's own mappings, of a file, which cannot be written to: what is dropped
        // is read from the file again, byte by byte the same. An error changes nothing.
        unsafe {
            libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED);
        }
    }
}

/// Start and length of the mappings that hold code of the program itself.
#[cfg(target_os = "linux")]
fn code_of_this_program() -> Vec<(usize, usize)> {
    let (Ok(program), Ok(maps)) = (
        std::fs::read_link("/proc/self/exe"),
        std::fs::read_to_string("/proc/self/maps"),
    ) else {
        return Vec::new();
    };
    match program.to_str() {
        Some(program) => code_of(program, &maps),
        None => Vec::new(),
    }
}

/// The mappings of `program` in the form of `/proc/self/maps` that can be run and not written to.
#[cfg(target_os = "linux")]
fn code_of(program: &str, maps: &str) -> Vec<(usize, usize)> {
    let code = |line: &str| {
        let mut words = line.splitn(6, ' ');
        let (range, access) = (words.next()?, words.next()?);
        let path = words.nth(3)?.trim_start();
        if access != "r-xp" || path != program {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        Some((start, end.checked_sub(start)?))
    };
    maps.lines().filter_map(code).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_the_program_itself_is_found() {
        let maps = "\
1000-3000 r--p 00000000 fe:00 11                         /opt/a program
3000-8000 r-xp 00002000 fe:00 11                         /opt/a program
8000-9000 rw-p 00007000 fe:00 11                         /opt/a program
a000-b000 rwxp 00007000 fe:00 11                         /opt/a program
c000-d000 r-xp 00000000 fe:00 12                         /usr/lib/libc.so.6
e000-f000 rw-p 00000000 00:00 0
f000-ff00 r-xp 00000000 00:00 0                          [vdso]
";
        assert_eq!(code_of("/opt/a program", maps), [(0x3000, 0x5000)]);
    }

    #[test]
    fn a_program_goes_on_after_its_code_was_given_back() {
        let code = code_of_this_program();
        assert!(code.iter().map(|(_, length)| length).sum::<usize>() > 0);
        give_back_code();
        let sum: u64 = (0..1_000_u64).map(|n| n * n).sum();
        assert_eq!(sum, 332_833_500);
    }
}
