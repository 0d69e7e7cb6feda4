//! The shipped sensor's life: it ends and comes back, meets others on the interface, and gets bad input.

mod attach;
mod input;
mod reload;
mod restart;
