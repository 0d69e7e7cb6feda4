//! What JA4 looks at in a ClientHello (RFC 8446 section 4.1.2), read by `tls-parser`.

use tls_parser::{
    ClientHello as _, DTLSMessage, DTLSMessageHandshakeBody, TlsExtension, TlsVersion, parse_dtls_message_handshake,
    parse_tls_extension_alpn_content, parse_tls_extension_signature_algorithms_content,
    parse_tls_extension_supported_versions, parse_tls_extension_unknown, parse_tls_handshake_client_hello,
};

use super::Unread;

const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// What carried the hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TLS over TCP.
    Tls,
    /// QUIC; also TLS inside another protocol over UDP, as others count it.
    Quic,
    Dtls,
}

/// The parts of a ClientHello that make its fingerprint, GREASE (RFC 8701) left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    pub transport: Transport,
    /// The highest of `supported_versions`, or the version of the message itself.
    pub version: u16,
    /// As sent.
    pub ciphers: Vec<u16>,
    /// Types, as sent.
    pub extensions: Vec<u16>,
    /// As sent.
    pub signatures: Vec<u16>,
    /// The first protocol of ALPN; empty without one.
    pub alpn: Vec<u8>,
}

impl ClientHello {
    /// Reads the body of a handshake message of TLS or QUIC.
    ///
    /// # Errors
    /// If lengths contradict each other.
    pub fn read(body: &[u8], transport: Transport) -> Result<Self, Unread> {
        let (rest, hello) = parse_tls_handshake_client_hello(body).map_err(|_| Unread::Malformed)?;
        Self::of(transport, hello.version, hello.ciphers(), hello.ext, rest)
    }

    /// Reads a whole handshake message of DTLS, its header included.
    ///
    /// # Errors
    /// If it is no ClientHello, or if lengths contradict each other.
    pub fn read_dtls(message: &[u8]) -> Result<Self, Unread> {
        let Ok((_, DTLSMessage::Handshake(read))) = parse_dtls_message_handshake(message) else {
            return Err(Unread::Malformed);
        };
        let DTLSMessageHandshakeBody::ClientHello(hello) = read.body else { return Err(Unread::Malformed) };
        Self::of(Transport::Dtls, hello.version, hello.ciphers(), hello.ext, &[])
    }

    fn of(
        transport: Transport,
        version: TlsVersion,
        ciphers: &[tls_parser::TlsCipherSuiteID],
        extensions: Option<&[u8]>,
        rest: &[u8],
    ) -> Result<Self, Unread> {
        // Behind the extensions there is nothing, and without them there is nothing.
        if !rest.is_empty() || ciphers.is_empty() {
            return Err(Unread::Malformed);
        }
        let mut hello = Self {
            transport,
            version: version.0,
            ciphers: ciphers.iter().map(|suite| suite.0).filter(|suite| !is_grease(*suite)).collect(),
            extensions: Vec::new(),
            signatures: Vec::new(),
            alpn: Vec::new(),
        };
        let mut left = extensions.unwrap_or_default();
        while !left.is_empty() {
            let Ok((next, TlsExtension::Unknown(kind, data))) = parse_tls_extension_unknown(left) else {
                return Err(Unread::Malformed);
            };
            let whole = left.get(..left.len().saturating_sub(next.len())).unwrap_or(left);
            hello.extension(kind.0, data, whole);
            left = next;
        }
        Ok(hello)
    }

    /// Takes up one extension; one whose inside is not understood still counts as sent.
    fn extension(&mut self, kind: u16, data: &[u8], whole: &[u8]) {
        if is_grease(kind) {
            return;
        }
        let first = !self.extensions.contains(&kind);
        self.extensions.push(kind);
        if !first {
            return;
        }
        match kind {
            SIGNATURE_ALGORITHMS => {
                if let Ok((_, TlsExtension::SignatureAlgorithms(all))) =
                    parse_tls_extension_signature_algorithms_content(data)
                {
                    self.signatures = all.into_iter().filter(|algorithm| !is_grease(*algorithm)).collect();
                }
            }
            ALPN => {
                if let Ok((_, TlsExtension::ALPN(all))) = parse_tls_extension_alpn_content(data) {
                    self.alpn = all.first().map(|name| name.to_vec()).unwrap_or_default();
                }
            }
            SUPPORTED_VERSIONS => {
                if let Ok((_, TlsExtension::SupportedVersions(all))) = parse_tls_extension_supported_versions(whole) {
                    let offered = all.iter().map(|version| version.0).filter(|version| !is_grease(*version));
                    self.version = self.highest(offered).unwrap_or(self.version);
                }
            }
            _ => {}
        }
    }

    /// DTLS counts its versions downwards (RFC 6347 section 4.1).
    fn highest(&self, offered: impl Iterator<Item = u16>) -> Option<u16> {
        match self.transport {
            Transport::Tls | Transport::Quic => offered.max(),
            Transport::Dtls => offered.max_by_key(|version| if *version >> 8 == 0xfe { !*version } else { *version }),
        }
    }

    /// Whether a server name was sent.
    #[must_use]
    pub fn names_server(&self) -> bool {
        self.extensions.contains(&SERVER_NAME)
    }
}

/// RFC 8701: 0x0a0a, 0x1a1a, ... 0xfafa.
pub(super) const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}
