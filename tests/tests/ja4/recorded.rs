//! Hellos of real clients, recorded on loopback, and what each is called. `SENSOR_BLESS=1` writes the list anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use sensor::fingerprint::quic::initial;
use sensor::fingerprint::{ClassNames, Handshake, Naming, Unread, find, hello, ja4};
use sensor_tests::executor::conversation::Conversation;
use sensor_tests::executor::host::Host;
use sensor_tests::executor::{Executor as _, World};
use sensor_tests::hello::{datagrams, recorded};
use sensor_tests::lab::address::exit;

use super::named;

const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/ja4.txt");

#[test]
fn recorded_clients_have_their_names() {
    let mut list = String::new();
    for (name, stream) in recorded() {
        let ja4 = ja4(&stream).unwrap_or_else(|error| panic!("{name}: {error}"));
        writeln!(list, "{name} {ja4} {}", ja4.normalised()).expect("text");
    }
    for (name, datagrams) in datagrams() {
        let all = || datagrams.iter().map(Vec::as_slice);
        let found = if name.starts_with("aioquic") {
            named(initial(all()))
        } else {
            let mut handshake = Handshake::default();
            let last = all().map(|datagram| handshake.put(datagram)).find(|outcome| *outcome != Err(Unread::Cut));
            named(last.unwrap_or(Err(Unread::Cut)))
        };
        writeln!(list, "{name} {}", found.unwrap_or_else(|error| panic!("{name}: {error}"))).expect("text");
    }
    if std::env::var_os("SENSOR_BLESS").is_some() {
        std::fs::write(LIST, &list).expect("the list can be written");
    }
    let known = std::fs::read_to_string(Path::new(LIST)).expect("golden/ja4.txt is there");
    assert_eq!(list, known);
}

/// The names that `docs/evidence.md` and the field know these clients by, not taken from this code.
#[test]
fn well_known_clients() {
    let rows = [
        ("curl-h1", "t13d3112h1_e8f1e7e78f70_b26ce05bbdd6"),
        ("curl-h2", "t13d3112h2_e8f1e7e78f70_b26ce05bbdd6"),
        ("node-https", "t13d591000_a33745022dd6_1f22a2ca17c4"),
        ("chrome-1", "t13d1516h2_8daaf6152771_806a8c22fdea"),
        ("safari-1", "t13d2013h2_a09f3c656075_7f0f34a4126d"),
    ];
    let recorded: BTreeMap<String, Vec<u8>> = recorded().into_iter().collect();
    for (name, expected) in rows {
        assert_eq!(ja4(&recorded[name]).expect(name).to_string(), expected, "{name}");
    }
}

#[test]
fn a_hello_of_rustls() {
    let mut roots = rustls::RootCertStore::empty();
    let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    roots.add(authority.cert.der().clone()).expect("it is one");
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let mut seen = BTreeSet::new();
    // Its extensions come in another order each time.
    for _ in 0..20 {
        let name = "localhost".try_into().expect("a name");
        let mut client = rustls::ClientConnection::new(Arc::clone(&config), name).expect("a client");
        let mut stream = Vec::new();
        client.write_tls(&mut stream).expect("a hello");
        let name = ja4(&stream).expect("a hello").to_string();
        assert_eq!(huginn_net_tls::parse_tls_client_hello_ja4(&stream).as_deref(), Some(&*name));
        seen.insert(name);
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
    let name = seen.pop_first().expect("one");
    assert!(name.starts_with("t13d") && name[8..10] == *"h2", "{name}");
}

#[test]
fn classes_and_names_are_one_to_one() {
    let mut names = ClassNames::new(64);
    let mut normal = BTreeSet::new();
    for (name, stream) in recorded() {
        let mut host = Host::new();
        host.install(&World::default());
        let cut: Vec<usize> = (1_400..stream.len()).step_by(1_400).collect();
        Conversation::tls(exit(1)).send_cut(&stream, &cut).run(&mut host);
        let class = host.observe().connection().expect("one connection").fingerprint;
        let ja4 = ja4(&stream).expect("a hello");
        assert!(matches!(names.sample(class, &ja4), Naming::New | Naming::Known), "{name}");
        assert_eq!(names.normalised(class), Some(&*ja4.normalised().to_string()), "{name}");
        assert_eq!(names.class(&ja4.normalised().to_string()), Some(class), "{name}");
        normal.insert(ja4.normalised().to_string());
    }
    assert_eq!((names.len(), names.conflicts(), names.refused()), (normal.len(), 0, 0));
}

#[test]
fn a_class_of_two_names_is_counted() {
    let recorded: BTreeMap<String, Vec<u8>> = recorded().into_iter().collect();
    let [curl, node, wget] = ["curl-h1", "node-https", "wget"].map(|name| ja4(&recorded[name]).expect(name));
    let mut names = ClassNames::new(2);
    assert_eq!(names.sample(1, &curl), Naming::New);
    assert_eq!(names.sample(1, &node), Naming::Conflict, "the class is taken");
    assert_eq!(names.sample(2, &curl), Naming::Conflict, "the name is taken");
    assert_eq!(names.sample(2, &node), Naming::New);
    assert_eq!(names.sample(3, &wget), Naming::Full);
    assert_eq!((names.len(), names.conflicts(), names.refused()), (2, 2, 1));
    assert_eq!(names.name(1), Some(&*curl.to_string()));
    // What is sampled most often is shown: a resumed hello does not rename its client.
    let [full, resumed] = ["python-full", "python-resumed"].map(|name| ja4(&recorded[name]).expect(name));
    let mut names = ClassNames::new(1);
    for sample in [&resumed, &full, &full] {
        assert_ne!(names.sample(7, sample), Naming::Conflict);
    }
    assert_eq!(names.name(7), Some(&*full.to_string()));
}

#[test]
fn tls_that_begins_later_is_found() {
    for (name, stream) in recorded() {
        let expected = named(hello(&stream));
        assert!(expected.is_ok(), "{name}");
        for before in [&b"EHLO relay\r\nSTARTTLS\r\n"[..], b"CONNECT h:443 HTTP/1.1\r\n\r\n", &[22, 3, 1, 0, 9, 1]] {
            let late = [before, &stream].concat();
            assert_eq!(named(find(&late, sensor::fingerprint::Transport::Tls)), expected, "{name}");
            assert!(hello(&late).is_err(), "{name}: not at the beginning");
        }
    }
}
