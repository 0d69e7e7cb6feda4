//! JA4: recorded clients, an independent implementation, published expectations, hostile input.

mod agree;
mod conformance;
mod recorded;
mod robust;

use sensor::fingerprint::{ClientHello, Ja4, Unread};

fn named(hello: Result<ClientHello, Unread>) -> Result<String, Unread> {
    hello.map(|hello| Ja4::of(&hello).to_string())
}
