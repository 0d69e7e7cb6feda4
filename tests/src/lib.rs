//! The lab: namespaces, a model server, clients, relays and the frame builder that the tests and the demo share.

pub mod bench;
pub mod client;
pub mod delay;
pub mod demo;
pub mod evidence;
pub mod executor;
pub mod flood;
pub mod frame;
pub mod hello;
pub mod lab;
pub mod live;
pub mod model;
pub mod prometheus;
pub mod query;
pub mod relay;
pub mod require;
pub mod stage;
