//! Keeps the memory of a long run as low as that of a short one.
//!
//! What one stage of a run allocates another one frees, and rows and captions outlive the buffers of
//! pictures and of the network. glibc's `malloc` gives each thread an arena of its own, where the
//! others do not find the gaps, and soon cuts large blocks out of its arenas too, where what is small
//! settles between them, so that the next batch's buffers no longer fit. Both are told not to: all
//! threads share one arena, and large blocks stay with the system, which takes each back whole. What
//! is free at the arena's end may be as much as a few of these, as else the system gives and takes the
//! same pages for every row group.

/// See the [module](self). To be called before there are threads; other allocators have no such
/// fault, and are left alone.
pub fn keep_memory_level() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::keep_memory_level();
}

/// Lets freed memory be used again instead of going back to the system: each step of a training
/// allocates the same blocks, and the system would zero their pages every time.
pub fn reuse_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::reuse_memory();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::ffi::c_int;

    /// From this size on a block is large, in bytes. Each costs the system's zeroing of its pages. What
    /// oneDNN lays the operands of a product out in, 1.1 to 1.3 MB with the demonstration model, is: it
    /// comes and goes at each step of a beam search, and grew the arena wherever its gap was no longer
    /// whole. The MiB of a row group of the cache is not: writing would be slower by a third.
    const LARGE: c_int = (1 << 20) + (1 << 16);

    /// What may be free at the arena's end, in bytes.
    const FREE: c_int = 4 << 20;

    /// Of `malloc.h`.
    const M_TRIM_THRESHOLD: c_int = -1;
    const M_MMAP_THRESHOLD: c_int = -3;
    const M_MMAP_MAX: c_int = -4;
    const M_ARENA_MAX: c_int = -8;

    unsafe extern "C" {
        fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }

    pub fn keep_memory_level() {
        set(&[
            (M_ARENA_MAX, 1),
            (M_MMAP_THRESHOLD, LARGE),
            (M_TRIM_THRESHOLD, FREE),
        ]);
    }

    pub fn reuse_memory() {
        // No block is taken from the system by itself, however large: a threshold of more than 32 MiB is
        // not accepted, and gradients of fc6 have 411 MB.
        set(&[(M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, c_int::MAX)]);
    }

    fn set(settings: &[(c_int, c_int)]) {
        for &(parameter, value) in settings {
            // SAFETY: any values may be given; those that make no sense change nothing.
            let accepted = unsafe { mallopt(parameter, value) };
            if accepted == 0 {
                tracing::debug!(parameter, value, "malloc does not take this setting");
            }
        }
    }
}
