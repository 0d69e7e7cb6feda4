//! ClientHellos for tests: read into parts, changed, written again, and the shape that the fingerprint stands for, by
//! a parser of its own (RFC 8446 section 4.1.2).

use std::path::Path;

/// Extension numbers.
pub const SERVER_NAME: u16 = 0;
pub const SIGNATURE_ALGORITHMS: u16 = 13;
pub const ALPN: u16 = 16;
pub const PADDING: u16 = 21;
pub const PRE_SHARED_KEY: u16 = 41;
pub const EARLY_DATA: u16 = 42;
pub const SUPPORTED_VERSIONS: u16 = 43;

/// Limits of the sensor's parser, beyond which it gives a hello up.
const MESSAGE_MAX: usize = 16_384;
const CIPHERS_MAX: usize = 255;
const EXTENSIONS_MAX: usize = 100;
const SIGNATURES_MAX: usize = 64;

/// A ClientHello in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub version: u16,
    pub random: [u8; 32],
    pub session: Vec<u8>,
    pub ciphers: Vec<u16>,
    pub compression: Vec<u8>,
    /// `None`: the message ends before them.
    pub extensions: Option<Vec<(u16, Vec<u8>)>>,
}

/// What the fingerprint of a hello depends on, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    version: u16,
    ciphers: Vec<u16>,
    extensions: Vec<u16>,
    server_name: bool,
    signatures: Vec<u16>,
    alpn: Option<(u8, u8)>,
}

/// The committed hellos, by name: recorded from real clients against a local listener.
///
/// # Panics
/// If a file is missing or holds no hex digits.
#[must_use]
pub fn recorded() -> Vec<(String, Vec<u8>)> {
    files("hello").into_iter().map(|(name, text)| (name, bytes(&text))).collect()
}

/// The first datagrams of QUIC and DTLS clients, recorded in the same way: one a line.
///
/// # Panics
/// As [`recorded`].
#[must_use]
pub fn datagrams() -> Vec<(String, Vec<Vec<u8>>)> {
    files("datagram").into_iter().map(|(name, text)| (name, text.lines().map(bytes).collect())).collect()
}

/// Name and text of every file in a folder of frames.
fn files(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("frames").join(folder);
    let mut all: Vec<(String, String)> = std::fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed").path())
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("text"))
        })
        .collect();
    all.sort();
    all
}

fn bytes(text: &str) -> Vec<u8> {
    let digit = |c: char| u8::try_from(c.to_digit(16).expect("hex")).expect("a digit");
    let digits: Vec<u8> = text.chars().filter(|c| !c.is_whitespace()).map(digit).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn short(&mut self) -> Option<u16> {
        self.number(2)?.try_into().ok()
    }

    /// A list behind its length, which takes so many bytes.
    fn list(&mut self, length_bytes: usize) -> Option<Reader<'a>> {
        let length = self.number(length_bytes)?;
        self.take(length).map(Reader)
    }
}

/// The handshake message inside TLS records, if the stream begins with a whole one; what follows it is ignored.
#[must_use]
pub fn message(stream: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader(stream);
    let mut bytes = Vec::new();
    loop {
        if let Some(header) = bytes.get(..4) {
            let length = Reader(&header[1..]).number(3)?;
            if header[0] != 1 || length > MESSAGE_MAX {
                return None;
            }
            if bytes.len() >= 4 + length {
                bytes.truncate(4 + length);
                return Some(bytes.split_off(4));
            }
        }
        let header = reader.take(5)?;
        let length = Reader(&header[3..]).number(2)?;
        if header[0] != 22 || header[1] != 3 || !(1..=16_384).contains(&length) {
            return None;
        }
        // The last record may be cut behind the message's end.
        bytes.extend(reader.take(length.min(reader.0.len()))?);
    }
}

impl Hello {
    /// Reads a handshake message's body.
    #[must_use]
    pub fn read(message: &[u8]) -> Option<Self> {
        let mut reader = Reader(message);
        let version = reader.short()?;
        let random = reader.take(32)?.try_into().ok()?;
        let session = reader.list(1)?.0.to_vec();
        let ciphers = shorts(reader.list(2)?)?;
        let compression = reader.list(1)?.0.to_vec();
        let sound = session.len() <= 32 && !ciphers.is_empty() && !compression.is_empty();
        let extensions = if reader.0.is_empty() {
            None
        } else {
            let mut block = reader.list(2)?;
            let mut extensions = Vec::new();
            while !block.0.is_empty() {
                extensions.push((block.short()?, block.list(2)?.0.to_vec()));
            }
            Some(extensions)
        };
        (sound && reader.0.is_empty()).then_some(Self { version, random, session, ciphers, compression, extensions })
    }

    /// The stream of one record that holds it.
    ///
    /// # Panics
    /// If a part is longer than its length field can say.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        self.write_records(usize::MAX)
    }

    /// The stream of records of at most so many bytes each.
    ///
    /// # Panics
    /// As [`Hello::write`].
    #[must_use]
    pub fn write_records(&self, most: usize) -> Vec<u8> {
        let mut body = [&self.version.to_be_bytes()[..], &self.random].concat();
        body.extend(prefixed(1, &self.session));
        body.extend(prefixed(2, &self.ciphers.iter().flat_map(|suite| suite.to_be_bytes()).collect::<Vec<_>>()));
        body.extend(prefixed(1, &self.compression));
        if let Some(extensions) = &self.extensions {
            let block: Vec<u8> = extensions
                .iter()
                .flat_map(|(kind, data)| [&kind.to_be_bytes()[..], &prefixed(2, data)].concat())
                .collect();
            body.extend(prefixed(2, &block));
        }
        let message = [&[1][..], &prefixed(3, &body)].concat();
        message.chunks(most.min(16_384)).flat_map(|part| [&[22, 3, 1][..], &prefixed(2, part)].concat()).collect()
    }

    /// What its fingerprint depends on; `None` if a strict reader refuses it.
    #[must_use]
    pub fn shape(&self) -> Option<Shape> {
        let extensions = self.extensions.as_deref().unwrap_or_default();
        let mut shape = Shape {
            version: self.version,
            ciphers: self.ciphers.iter().copied().filter(|suite| !is_grease(*suite)).collect(),
            extensions: extensions.iter().map(|(kind, _)| *kind).filter(|kind| counts(*kind)).collect(),
            server_name: false,
            signatures: Vec::new(),
            alpn: None,
        };
        shape.ciphers.sort_unstable();
        shape.extensions.sort_unstable();
        for kind in [SERVER_NAME, SIGNATURE_ALGORITHMS, ALPN, SUPPORTED_VERSIONS] {
            let mut found = extensions.iter().filter(|(known, _)| *known == kind);
            let Some((_, data)) = found.next() else { continue };
            if found.next().is_some() {
                return None;
            }
            let mut reader = Reader(data);
            match kind {
                SERVER_NAME => shape.server_name = true,
                SIGNATURE_ALGORITHMS => {
                    let all = shorts(whole(&mut reader, 2)?)?;
                    if all.is_empty() || all.len() > SIGNATURES_MAX {
                        return None;
                    }
                    shape.signatures = all.into_iter().filter(|algorithm| !is_grease(*algorithm)).collect();
                }
                ALPN => {
                    let mut list = whole(&mut reader, 2)?;
                    let first = list.list(1)?.0;
                    shape.alpn = Some((*first.first()?, *first.last()?));
                }
                _ => {
                    let offered = shorts(whole(&mut reader, 1)?)?;
                    let highest = offered.iter().copied().filter(|version| !is_grease(*version)).max();
                    shape.version = highest.unwrap_or(self.version);
                    if offered.is_empty() {
                        return None;
                    }
                }
            }
        }
        (shape.ciphers.len() <= CIPHERS_MAX && shape.extensions.len() <= EXTENSIONS_MAX).then_some(shape)
    }
}

/// The list that fills the rest exactly.
fn whole<'a>(reader: &mut Reader<'a>, length_bytes: usize) -> Option<Reader<'a>> {
    let list = reader.list(length_bytes)?;
    reader.0.is_empty().then_some(list)
}

fn shorts(mut list: Reader<'_>) -> Option<Vec<u16>> {
    let mut all = Vec::new();
    while !list.0.is_empty() {
        all.push(list.short()?);
    }
    Some(all)
}

fn counts(kind: u16) -> bool {
    !is_grease(kind) && !matches!(kind, PADDING | PRE_SHARED_KEY | EARLY_DATA)
}

/// RFC 8701.
#[must_use]
pub fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

fn prefixed(length_bytes: usize, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("short").to_be_bytes();
    assert!(bytes.len() < 1 << (8 * length_bytes), "{} bytes behind a length of {length_bytes}", bytes.len());
    [&length[4 - length_bytes..], bytes].concat()
}
