//! NATS JetStream as interconnect.
