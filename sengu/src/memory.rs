//! The allocator, and when it gives memory back.
//!
//! glibc's allocator keeps freed memory per thread: 100,000 targets applied at once would stay resident. mimalloc gives it
//! back, but only when somebody allocates again; an idle system would keep what its last request took.

use std::time::Duration;
use tokio::sync::watch;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Frees of one request come in bursts; one collection follows them all.
const SETTLE: Duration = Duration::from_millis(500);

/// Gives back what is free whenever records were written, until their sender is gone.
pub async fn give_back_after(mut written: watch::Receiver<u64>) {
    while written.changed().await.is_ok() {
        tokio::time::sleep(SETTLE).await;
        written.mark_unchanged();
        collect();
    }
}

#[allow(unsafe_code)]
fn collect() {
    // SAFETY: mi_collect takes no pointer and touches only memory that is free. Its documentation allows the call from
    // any thread at any time, and mimalloc is the allocator of this program (above).
    unsafe { libmimalloc_sys::mi_collect(true) }
}
