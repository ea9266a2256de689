//! The binary: everything is in the library, so that tests can use it.

use std::process::ExitCode;

/// Gives memory back within seconds of a storm's end, by threads of its own. glibc's allocator keeps what was the peak.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    roomcast::cli::run()
}
