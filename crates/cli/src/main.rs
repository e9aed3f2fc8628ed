//! The `headwater` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    headwater_allocator::keep_freed_memory();
    headwater_cli::main(std::env::args_os())
}
