//! Queues in RabbitMQ over AMQP 0-9-1.
