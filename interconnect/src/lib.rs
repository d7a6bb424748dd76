//! The Broker port, its delivery contract, the in-memory broker and the suite that every broker must pass.
