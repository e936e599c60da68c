//! Ctrl-C and termination, which a thread of their own waits for.
//!
//! There is no handler: one would run on top of whatever its thread is doing, and of libtorch not all
//! is made for that. The fp32 products of its oneDNN (2.11, with AVX-512) keep data where the stack
//! pointer points to, so that what the system lays down for a handler is written over the heap. So
//! signals are blocked in every thread.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SigSet, Signal, raise};

use super::exit::Exit;

/// Whether somebody looks at [`STOP`].
static HEEDED: AtomicBool = AtomicBool::new(false);

/// Whether the end was asked for.
static STOP: AtomicBool = AtomicBool::new(false);

/// Waits for signals from now on. Called once, by `main`, before there are other threads: they inherit
/// what is blocked.
pub fn wait_apart() {
    let ends = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    // Never waited for: a limit on file sizes is to fail the write, which names the file.
    let all = ends | Signal::SIGXFSZ;
    let waits = all
        .thread_block()
        .map_err(std::io::Error::from)
        .and_then(|()| {
            std::thread::Builder::new()
                .name("signals".to_owned())
                .spawn(move || {
                    while let Ok(signal) = ends.wait() {
                        take(signal);
                    }
                })
        });
    if let Err(error) = waits {
        // Better ended by a signal than not at all.
        let _ = all.thread_unblock();
        tracing::warn!("cannot wait for signals, which will end this process at once: {error}");
    }
}

/// A flag that the first Ctrl-C or termination signal sets from now on; the second ends the process at
/// once. Without this call the first one does, as if nobody waited for it.
pub fn stop_flag() -> &'static AtomicBool {
    HEEDED.store(true, Ordering::Relaxed);
    &STOP
}

fn take(signal: Signal) {
    if !HEEDED.load(Ordering::Relaxed) {
        let it = SigSet::from(signal);
        let _ = it.thread_unblock();
        let _ = raise(signal);
        // Whoever started the process has it ignored.
        let _ = it.thread_block();
    } else if STOP.swap(true, Ordering::Relaxed) {
        // Other threads still compute with what `std::process::exit` would take apart.
        signal_hook::low_level::exit(Exit::Interrupted.code().into());
    }
}
