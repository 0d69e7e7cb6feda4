//! The control plane: a Unix socket that speaks HTTP/1 and JSON.

pub mod protocol;
