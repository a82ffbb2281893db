//! HTTP on one port.
