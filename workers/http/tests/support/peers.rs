//! Servers that nobody here wrote: nginx and a Prometheus exporter. Each on its own ports, in its own folder, ended by
//! its pid.
