//! Every limit of this runtime by name, unit and reason. Guests are other people's code in our process.

use std::time::Duration;

/// One component, in bytes. An interpreter with its library is 20 to 40 MB.
pub const COMPONENT_BYTES_MAX: u64 = 64 << 20;
/// Its compiled form, in bytes: five to ten times the component.
pub const COMPILED_BYTES_MAX: u64 = 512 << 20;
/// From the start of the compiler to its end. An interpreter takes 20 s of two idle cores.
pub const COMPILE_MAX: Duration = Duration::from_secs(300);
/// Memory of the compiler, in bytes: an interpreter takes about 1 GB.
pub const COMPILER_BYTES_MAX: u64 = 4 << 30;
/// Compiled components kept on disk; the ones unused longest go first.
pub const CACHE_FILES_MAX: usize = 64;
/// Compiled components kept in memory; one that is let go lives on as long as something runs it.
pub const LOADED_MAX: usize = 64;

/// Guests are looked at this often while they compute: how late an end may come, and how long a thread is held.
pub const TICK: Duration = Duration::from_millis(10);
/// Shares of CPU time are counted over this long: how long a pause may be.
pub const CPU_WINDOW: Duration = Duration::from_millis(200);
/// After its deadline a guest can still say what it knows, for this long. The caller waits 2 s longer than the deadline.
pub const LAST_WORD: Duration = Duration::from_millis(500);
/// A guest that computes on after a cancel is ended after this long.
pub const CANCEL_GRACE: Duration = Duration::from_secs(2);
/// Stack of a guest, in bytes: deep recursion of a parser fits, a runaway one does not.
pub const STACK_BYTES: usize = 512 << 10;
/// Stack of the thread that a guest believes to have: its own and what the host's calls need on top.
pub const FIBER_BYTES: usize = 1 << 20;
/// What a guest may hand over in one call, in bytes as held by the host.
pub const CALL_BYTES_MAX: usize = 16 << 20;
/// Elements of one table of functions: an interpreter has some ten thousand.
pub const TABLE_ELEMENTS_MAX: usize = 1 << 20;
/// Parts of one component: an interpreter comes with a module for each of its libraries.
pub const CORE_INSTANCES_MAX: usize = 1_000;
pub const TABLES_MAX: usize = 1_000;
/// Each takes 4 GiB of address space, used or not.
pub const MEMORIES_MAX: usize = 16;

/// Bytes in each pipe between an instance and its reader.
pub const PIPE_BYTES: usize = 64 << 10;
/// Lines that wait to be written; a guest that says more waits.
pub const LINES_WAITING_MAX: usize = 256;
/// From the last outcome until the reader has taken it.
pub const FLUSH_MAX: Duration = Duration::from_secs(5);
/// A stopped instance is gone within a tick, unless the machine stands still.
pub const GONE_MAX: Duration = Duration::from_secs(5);
/// Random bytes given at once.
pub const RANDOM_BYTES_MAX: u32 = 4_096;

/// An answer to an HTTP request, in bytes, unless the guest says otherwise, and at most.
pub const RESPONSE_BYTES: u32 = 4 << 20;
pub const RESPONSE_BYTES_MAX: u32 = 32 << 20;
/// Body of an HTTP request, in bytes: parameters of a task are at most 512 KiB.
pub const REQUEST_BYTES_MAX: usize = 2 << 20;
/// Header lines of a request, and their bytes.
pub const HEADERS_MAX: usize = 64;
pub const HEADER_BYTES_MAX: usize = 32 << 10;
/// One request and its answer, unless the guest says otherwise; its task's deadline holds in any case.
pub const REQUEST_MAX: Duration = Duration::from_secs(30);
/// TCP and TLS handshake. Management cards take up to 2 s for an RSA handshake.
pub const CONNECT_MAX: Duration = Duration::from_secs(8);
/// A connection that nobody used this long is closed. Servers close theirs after 15 to 75 s.
pub const CONNECTION_IDLE: Duration = Duration::from_secs(10);
/// Idle connections kept to one target, and over all targets of an instance: about 40 KB each.
pub const CONNECTIONS_IDLE_PER_TARGET_MAX: usize = 2;
pub const CONNECTIONS_IDLE_MAX: usize = 256;
/// Targets whose connections and TLS settings one instance knows; idle ones beyond are forgotten.
pub const ORIGINS_MAX: usize = 4_096;
/// TCP connections that one task holds open.
pub const TCP_CONNECTIONS_MAX: u32 = 8;
/// One read from a TCP connection, in bytes.
pub const TCP_READ_BYTES_MAX: u32 = 256 << 10;

/// What the memory beyond tasks holds: entries of an instance and of one target, bytes of one entry, and how long.
pub const KEPT_ENTRIES_MAX: usize = 16_384;
pub const KEPT_ENTRIES_PER_TARGET_MAX: usize = 16;
pub const KEPT_KEY_BYTES_MAX: usize = 256;
pub const KEPT_BYTES_MAX: usize = 16 << 10;
pub const KEPT_MAX: Duration = Duration::from_secs(24 * 3_600);
