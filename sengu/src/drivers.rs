//! Every driver by port and name. The embedded ones are drivers like all others.

// drivers: begin (written by cargo xtask sync)
pub mod stores {
    pub use sengu_store_directory as directory;
    pub use sengu_store_postgres as postgres;
    pub use sengu_store_sqlite as sqlite;
}
pub mod brokers {
    pub use sengu_broker_amqp as amqp;
    pub use sengu_broker_link as link;
    pub use sengu_broker_mqtt as mqtt;
    pub use sengu_broker_nats as nats;
}
pub mod runtimes {
    pub use sengu_runtime_docker as docker;
    pub use sengu_runtime_process as process;
    pub use sengu_runtime_wasm as wasm;
}
// drivers: end
