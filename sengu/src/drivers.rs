//! Every driver by port and name. The embedded ones are drivers like all others.

// drivers: begin (written by cargo xtask sync)
pub mod stores {
    pub use sengu_store_sqlite as sqlite;
}
pub mod runtimes {
    pub use sengu_runtime_process as process;
}
// drivers: end
