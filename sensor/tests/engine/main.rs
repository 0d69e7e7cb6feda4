//! The pure engine, driven through its public face: scenarios, oracles and hostile input.

mod campaign;
mod cost;
mod fleet;
mod heavy;
mod long;
mod property;
mod restart;
mod rotation;
mod scenario;
mod surge;
mod window;
