//! The control plane: a Unix socket that speaks HTTP/1 and JSON.

pub mod bulk;
mod campaign;
pub mod client;
pub mod listen;
pub mod protocol;
mod rate;
pub mod route;
pub mod server;
pub mod subject;
pub mod validate;
