//! Hellos that are cut, bent or hidden: an error that says so, never a wrong name.

use sensor::fingerprint::quic::{Initials, initial};
use sensor::fingerprint::{Handshake, Unread, hello, ja4};
use sensor_tests::hello::{Hello, datagrams, message, recorded};

use super::named;

#[test]
fn a_beginning_is_cut_and_never_another_name() {
    for (name, stream) in recorded() {
        for length in 0..stream.len() {
            assert_eq!(hello(&stream[..length]).err(), Some(Unread::Cut), "{name}, {length} bytes of it");
        }
        let more = [&stream[..], b"what follows"].concat();
        assert_eq!(named(hello(&more)), named(hello(&stream)), "{name}");
    }
}

#[test]
fn bits_flipped_give_what_a_strict_reader_sees() {
    for (name, stream) in recorded() {
        for bit in 0..stream.len() * 8 {
            let mut bent = stream.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            let strict = message(&bent).and_then(|body| Hello::read(&body)).and_then(|hello| hello.shape());
            // A strict reader's hello is read here too; what it refuses may still have a name.
            assert!(strict.is_none() || ja4(&bent).is_ok(), "{name}, bit {bit}");
        }
    }
}

#[test]
fn datagrams_of_quic_in_any_order() {
    let all = datagrams();
    let (_, long) = all.iter().find(|(name, _)| name == "aioquic-long").expect("recorded");
    assert!(long.len() >= 2, "the hello needs several datagrams");
    let expected = named(initial(long.iter().map(Vec::as_slice)));
    assert!(expected.is_ok(), "{expected:?}");
    assert_eq!(named(initial(long.iter().rev().map(Vec::as_slice))), expected, "backwards");
    let doubled: Vec<&[u8]> = long.iter().flat_map(|one| [one.as_slice(), one.as_slice()]).collect();
    assert_eq!(named(initial(doubled)), expected, "each twice");
    assert_eq!(initial(long.iter().take(1).map(Vec::as_slice)).err(), Some(Unread::Cut), "the first alone");
    // All in one datagram, as a network card may merge them.
    assert_eq!(named(initial([long.concat().as_slice()])), expected, "coalesced");
}

#[test]
fn datagrams_that_are_no_initial() {
    let (_, first) = datagrams().into_iter().find(|(name, _)| name == "aioquic-v1").expect("recorded");
    let datagram = &first[0];
    let opens = |length: &usize| Initials::default().put(&datagram[..*length]).is_ok();
    // Behind the packet the datagram is filled up.
    let packet = (0..datagram.len()).find(opens).expect("it holds a hello");
    assert!((200..datagram.len()).contains(&packet) && (packet..datagram.len()).all(|length| opens(&length)));
    for bit in 0..packet * 8 {
        let mut bent = datagram.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        assert!(Initials::default().put(&bent).is_err(), "bit {bit}: the tag covers it");
    }
    // A new version, a short header, a version negotiation.
    for (place, value, expected) in [(1, 0x5a, Unread::Version), (0, 0x40, Unread::Sealed)] {
        let mut other = datagram.clone();
        other[place] = value;
        assert_eq!(Initials::default().put(&other).err(), Some(expected));
    }
    // It gives up on a client that never shows a hello.
    let mut initials = Initials::default();
    let outcomes: Vec<_> = (0..100).map(|_| initials.put(&[0xc0, 0, 0, 0, 1, 0])).collect();
    assert_eq!(outcomes.last(), Some(&Err(Unread::TooLong)));
    // One behind it is found by whoever begins anew.
    assert!(Initials::default().put(datagram).is_ok());
}

#[test]
fn fragments_of_dtls_in_any_order() {
    let (_, cut) = datagrams().into_iter().find(|(name, _)| name == "openssl-dtls-cut").expect("recorded");
    assert!(cut.len() >= 3, "several fragments");
    let run = |order: &[usize]| {
        let mut handshake = Handshake::default();
        let outcomes: Vec<_> = order.iter().map(|index| named(handshake.put(&cut[*index]))).collect();
        outcomes.into_iter().find(Result::is_ok)
    };
    let expected = run(&[0, 1, 2]).expect("complete");
    assert_eq!(run(&[2, 0, 1]), Some(expected.clone()));
    assert_eq!(run(&[1, 1, 2, 2, 0]), Some(expected));
    assert_eq!(run(&[0, 2]), None, "one is missing");
}

#[test]
fn a_hello_longer_than_the_packet_path_reads_is_refused() {
    let extensions = Some(vec![(0x4000, vec![0; 16_000]), (0x4001, vec![0; 16_000])]);
    let (random, session, compression) = ([0; 32], Vec::new(), vec![0]);
    let long = Hello { version: 0x0303, random, session, ciphers: vec![0x1301], compression, extensions };
    assert_eq!(hello(&long.write()).err(), Some(Unread::TooLong));
}
