//! Who a client is by the shape of its ClientHello: JA4 for TLS, QUIC and DTLS, and the names of kernel classes.
//!
//! Pure functions of bytes that a client sent: no clock, no I/O, bounded memory. Content is not kept: of a server name
//! only its presence is looked at. Of the JA4 family only JA4 itself is here (BSD-3-Clause, see `NOTICE`); the methods
//! called JA4+ are under another licence and stay out.

mod dtls;
mod hello;
mod ja4;
mod names;
mod pieces;
pub mod quic;
mod record;

pub use dtls::Handshake;
pub use hello::{ClientHello, Transport};
pub use ja4::Ja4;
pub use names::{ClassNames, Naming};
pub use record::{find, hello};

/// Longest ClientHello that is read, bytes: that of the packet path.
pub const HELLO_BYTES: usize = 16_384;

/// Why there is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The bytes end before the hello does: with more of them there may be one.
    Cut,
    /// Not a ClientHello, or one whose lengths contradict each other.
    Malformed,
    /// Longer than [`HELLO_BYTES`], or in more pieces than are kept.
    TooLong,
    /// A version of QUIC whose keys are not known.
    Version,
    /// No Initial packet, or one that its keys do not open.
    Sealed,
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cut => "the ClientHello is not complete",
            Self::Malformed => "no ClientHello",
            Self::TooLong => "the ClientHello is too long",
            Self::Version => "a QUIC version that is not known",
            Self::Sealed => "no QUIC Initial that opens",
        })
    }
}

impl std::error::Error for Unread {}

/// JA4 of the ClientHello that a client's TCP stream begins with.
///
/// # Errors
/// If the stream does not begin with a complete one.
pub fn ja4(stream: &[u8]) -> Result<Ja4, Unread> {
    hello(stream).map(|hello| Ja4::of(&hello))
}
