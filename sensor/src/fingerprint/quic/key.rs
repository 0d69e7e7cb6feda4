//! Keys of the client's Initial packets, and opening them (RFC 9001 section 5, RFC 9369 section 3.3).

use aes_gcm::aes::Aes128;
use aes_gcm::aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use aes_gcm::{AeadInOut as _, Aes128Gcm};
use hkdf::Hkdf;
use sha2::Sha256;

use super::packet::{Packet, Version};

/// Bytes of AES-GCM's tag.
const TAG: usize = 16;
/// Header protection samples what begins so many bytes behind the packet number's beginning.
const SAMPLE_OFFSET: usize = 4;
/// Bytes of that sample.
const SAMPLE: usize = 16;

impl Version {
    /// The published salt of the version's Initial secrets.
    const fn salt(self) -> [u8; 20] {
        match self {
            Self::One => [
                0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc,
                0xbb, 0x7f, 0x0a,
            ],
            Self::Draft29 => [
                0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61, 0x11, 0xe0, 0x43,
                0x90, 0xa8, 0x99,
            ],
            Self::Two => [
                0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9,
                0xbd, 0x2e, 0xd9,
            ],
        }
    }

    /// Labels of key, nonce and header protection.
    const fn labels(self) -> [&'static str; 3] {
        match self {
            Self::One | Self::Draft29 => ["quic key", "quic iv", "quic hp"],
            Self::Two => ["quicv2 key", "quicv2 iv", "quicv2 hp"],
        }
    }
}

/// What opens the Initial packets of one client.
pub(super) struct Keys {
    version: Version,
    payload: Aes128Gcm,
    nonce: [u8; 12],
    header: Aes128,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Keys {
    /// The keys that follow from the connection id of the client's first packet.
    pub(super) fn derive(packet: &Packet<'_>) -> Self {
        let version = packet.version;
        let (key, nonce, header) = secrets(version, packet.id);
        Self { version, payload: Aes128Gcm::new(&key.into()), nonce, header: Aes128::new(&header.into()) }
    }

    /// The frames of a packet; `None` if these are not its keys.
    pub(super) fn open(&self, packet: &Packet<'_>) -> Option<Vec<u8>> {
        if self.version != packet.version {
            return None;
        }
        let begin = packet.number.checked_add(SAMPLE_OFFSET)?;
        let sample: [u8; SAMPLE] = packet.bytes.get(begin..begin.checked_add(SAMPLE)?)?.try_into().ok()?;
        let mut mask = sample.into();
        self.header.encrypt_block(&mut mask);
        let mut bytes = packet.bytes.to_vec();
        let (first, later) = mask.split_first()?;
        bytes[0] ^= first & 0x0f;
        let number_bytes = usize::from(bytes[0] & 3) + 1;
        let payload_at = packet.number + number_bytes;
        for (byte, mask) in bytes.get_mut(packet.number..payload_at)?.iter_mut().zip(later) {
            *byte ^= mask;
        }
        // A client's first packets: their numbers are what is sent of them.
        let mut nonce = self.nonce;
        for (place, byte) in nonce.iter_mut().rev().zip(bytes.get(packet.number..payload_at)?.iter().rev()) {
            *place ^= byte;
        }
        let (header, sealed) = bytes.split_at_mut_checked(payload_at)?;
        let (payload, tag) = sealed.split_at_mut_checked(sealed.len().checked_sub(TAG)?)?;
        let tag: [u8; TAG] = (&*tag).try_into().ok()?;
        self.payload.decrypt_inout_detached(&nonce.into(), header, (&mut *payload).into(), &tag.into()).ok()?;
        Some(payload.to_vec())
    }
}

/// Key, nonce and header protection key of a client's Initial packets.
fn secrets(version: Version, id: &[u8]) -> ([u8; 16], [u8; 12], [u8; 16]) {
    let initial = Hkdf::<Sha256>::new(Some(&version.salt()), id);
    let secret: [u8; 32] = expand(&initial, "client in");
    let client = Hkdf::<Sha256>::from_prk(&secret).expect("a secret is as long as the hash");
    let [key, nonce, header] = version.labels();
    (expand(&client, key), expand(&client, nonce), expand(&client, header))
}

/// HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
fn expand<const N: usize>(secret: &Hkdf<Sha256>, label: &str) -> [u8; N] {
    let mut out = [0; N];
    let length = u16::try_from(N).expect("keys are short").to_be_bytes();
    let label_length = u8::try_from("tls13 ".len() + label.len()).expect("labels are short");
    secret
        .expand_multi_info(&[&length, &[label_length], b"tls13 ", label.as_bytes(), &[0]], &mut out)
        .expect("keys are shorter than HKDF's limit");
    out
}

#[cfg(test)]
mod tests {
    use super::super::packet::Version;
    use super::secrets;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 9001 appendix A.1, RFC 9369 appendix A.1: the connection id 0x8394c8f03e515708.
    #[test]
    fn published_keys() {
        let id = 0x8394_c8f0_3e51_5708_u64.to_be_bytes();
        let rows = [
            (
                Version::One,
                "1f369613dd76d5467730efcbe3b1a22d",
                "fa044b2f42a3fd3b46fb255c",
                "9f50449e04a0e810283a1e9933adedd2",
            ),
            (
                Version::Two,
                "8b1a0bc121284290a29e0971b5cd045d",
                "91f73e2351d8fa91660e909f",
                "45b95e15235d6f45a6b19cbcb0294ba9",
            ),
        ];
        for (version, key, nonce, header) in rows {
            let found = secrets(version, &id);
            assert_eq!([hex(&found.0), hex(&found.1), hex(&found.2)], [key, nonce, header], "{version:?}");
        }
    }
}
