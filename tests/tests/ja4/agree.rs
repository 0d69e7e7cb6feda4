//! Random hellos: an independent implementation gives the same JA4, but for differences that are named here.

use proptest::collection::vec;
use proptest::prelude::*;
use sensor::fingerprint::ja4;
use sensor_tests::hello::{
    ALPN, EARLY_DATA, Hello, PADDING, PRE_SHARED_KEY, SERVER_NAME, SIGNATURE_ALGORITHMS, SUPPORTED_VERSIONS, recorded,
};

const GREASE: [u16; 4] = [0x0a0a, 0x1a1a, 0xaaaa, 0xfafa];

fn listed(bytes: usize, values: &[u16]) -> Vec<u8> {
    let list: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
    let length = u16::try_from(list.len()).expect("short").to_be_bytes();
    [&length[2 - bytes..], &list].concat()
}

fn short() -> impl Strategy<Value = u16> {
    prop_oneof![9 => any::<u16>(), 1 => proptest::sample::select(&GREASE)]
}

/// An extension whose content is that of its type, for types that the other implementation reads too.
fn extension() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let name = vec(b'a'..=b'z', 1..30).prop_map(|name| {
        let length = u16::try_from(name.len()).expect("short");
        (SERVER_NAME, [&(length + 3).to_be_bytes()[..], &[0], &length.to_be_bytes(), &name].concat())
    });
    let protocol = proptest::sample::select(&["h2", "http/1.1", "h3", "spdy/3.1", "x-y", "0rtt"]);
    let alpn = vec(protocol, 1..4).prop_map(|all| {
        let names: Vec<u8> = all.iter().flat_map(|name| [&[name.len() as u8], name.as_bytes()].concat()).collect();
        (ALPN, [&u16::try_from(names.len()).expect("short").to_be_bytes()[..], &names].concat())
    });
    let version = proptest::sample::select(&[0x0304_u16, 0x0303, 0x0302, 0x0301, 0x0300, 0x1a1a, 0x7f1c]);
    prop_oneof![
        name,
        alpn,
        vec(short(), 1..30).prop_map(|all| (SIGNATURE_ALGORITHMS, listed(2, &all))),
        // One alone would be read as a server's.
        vec(version, 2..6).prop_map(|all| (SUPPORTED_VERSIONS, listed(1, &all))),
        vec(any::<u8>(), 0..40).prop_map(|data| (PADDING, data)),
        vec(any::<u8>(), 0..40).prop_map(|data| (PRE_SHARED_KEY, data)),
        Just((EARLY_DATA, Vec::new())),
        // Private and unassigned types: nobody looks inside.
        (0x4000_u16..0xf000, vec(any::<u8>(), 0..40)),
        proptest::sample::select(&GREASE).prop_map(|kind| (kind, Vec::new())),
    ]
}

fn random_hello() -> impl Strategy<Value = Hello> {
    let version = proptest::sample::select(&[0x0303_u16, 0x0302, 0x0301, 0x0300]);
    (version, any::<[u8; 32]>(), vec(any::<u8>(), 0..=32), vec(short(), 1..120), vec(extension(), 0..25)).prop_map(
        |(version, random, session, ciphers, all)| {
            let mut extensions: Vec<(u16, Vec<u8>)> = Vec::new();
            for (kind, data) in all {
                if !extensions.iter().any(|(known, _)| *known == kind) {
                    extensions.push((kind, data));
                }
            }
            Hello { version, random, session, ciphers, compression: vec![0], extensions: Some(extensions) }
        },
    )
}

/// The other implementation reads types `0x?a?a` whose halves differ as GREASE of another number, and drops the type.
fn is_read_otherwise(hello: &Hello) -> bool {
    let odd = |kind: u16| kind & 0x0f0f == 0x0a0a && kind >> 8 != kind & 0xff;
    hello.extensions.iter().flatten().any(|(kind, _)| odd(*kind))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn an_independent_implementation_agrees(hello in random_hello()) {
        prop_assume!(!is_read_otherwise(&hello));
        let stream = hello.write();
        let ours = ja4(&stream).expect("a sound hello").to_string();
        prop_assert_eq!(Some(ours), huginn_net_tls::parse_tls_client_hello_ja4(&stream));
    }

    #[test]
    fn cuts_into_records_change_nothing(hello in random_hello(), most in 1_usize..400) {
        let whole = ja4(&hello.write()).expect("a sound hello");
        prop_assert_eq!(ja4(&hello.write_records(most)), Ok(whole));
    }
}

#[test]
fn recorded_clients_have_the_same_name_there() {
    for (name, stream) in recorded() {
        let mut ours = ja4(&stream).expect("a hello").to_string();
        // A protocol of one letter: the description counts it as first and last, the other implementation writes 0.
        if name == "openssl-alpn-short" {
            ours = ours.replacen("xx_", "x0_", 1);
        }
        assert_eq!(Some(ours), huginn_net_tls::parse_tls_client_hello_ja4(&stream), "{name}");
    }
}

/// Where the description and the other implementation differ, the description holds.
#[test]
fn odd_protocols_follow_the_description() {
    let rows: [(&[u8], &str); 7] = [
        (b"h", "hh"),
        (b"h2", "h2"),
        (&[0xab], "ab"),
        (&[0xab, 0xcd], "ad"),
        (&[0x30, 0xab], "3b"),
        (&[0x30, 0x31, 0xab, 0xcd], "3d"),
        (&[0x30, 0xab, 0xcd, 0x31], "01"),
    ];
    for (protocol, expected) in rows {
        let name = [&[protocol.len() as u8], protocol].concat();
        let list = [&(name.len() as u16).to_be_bytes()[..], &name].concat();
        let extensions = Some(vec![(ALPN, list)]);
        let (random, session, compression) = ([0; 32], Vec::new(), vec![0]);
        let hello = Hello { version: 0x0303, random, session, ciphers: vec![0x1301], compression, extensions };
        let ja4 = ja4(&hello.write()).expect("a hello").to_string();
        assert_eq!(ja4, format!("t12i0101{expected}_0f2cb44170f4_000000000000"), "{protocol:x?}");
    }
}
