//! How headwater's binaries use the system's memory. Libraries leave it to the program that embeds them.
//!
//! An epoch allocates what the epoch before it has freed: decoded batches, state, encoded files. glibc gives large blocks
//! back to the system as soon as they are free, so that the kernel takes pages away and clears them anew, epoch by
//! epoch. [`keep_freed_memory`] makes it keep them; [`give_back`] and [`give_back_code`] are for a program that has nothing
//! to do.
//!
//! With other C libraries and on other systems they do nothing.

mod code;

pub use code::give_back_code;

/// Blocks up to this come from memory that is kept.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BLOCK: libc::c_int = 1 << 30;

/// Free memory at the end of a heap that is not given back by itself.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_AT_THE_END: libc::c_int = 1 << 30;

/// Keeps freed memory for what is allocated next, rather than giving it back to the system at once. Call it first of all.
///
/// What `GLIBC_TUNABLES`, `MALLOC_MMAP_THRESHOLD_` and `MALLOC_TRIM_THRESHOLD_` say of it is overridden.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "a call into the C library")]
    // SAFETY: mallopt takes two numbers and changes settings of the allocator only. A number that it does not accept
    // changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_BLOCK);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_AT_THE_END);
    }
}

/// Gives free memory back to the system. Takes milliseconds for each gigabyte of it.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "a call into the C library")]
    // SAFETY: malloc_trim takes a number, locks the allocator as any allocation does, and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
