fn main() -> std::process::ExitCode {
    fix_threshold();
    forge::cli::main()
}

/// Blocks from this size on are the system's own, and go back to it when they are freed. By itself glibc raises this with every
/// such block that is freed, and what is freed later stays with the process: up to a tenth of what a large graph takes.
#[cfg(target_env = "gnu")]
fn fix_threshold() {
    const BYTES: libc::c_int = 4 << 20;
    // SAFETY: it takes two numbers, and there is one thread. Where it is refused, memory is as it was.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, BYTES) };
}

#[cfg(not(target_env = "gnu"))]
fn fix_threshold() {}
