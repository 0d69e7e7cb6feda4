//! The fingerprint of the ClientHello: the same however the hello is cut and shuffled, none where it cannot be right.

use std::collections::BTreeMap;

use sensor_common::event::flag;
use sensor_tests::hello::{
    ALPN, EARLY_DATA, Hello, PADDING, PRE_SHARED_KEY, SIGNATURE_ALGORITHMS, SUPPORTED_VERSIONS, Shape, is_grease,
    message, recorded,
};

use super::{cuts, kernel, on_host, outcome, tls};

fn class(stream: &[u8]) -> u64 {
    on_host(&tls().send_cut(stream, &(8_000..stream.len()).step_by(8_000).collect::<Vec<_>>())).fingerprint
}

fn parts(stream: &[u8]) -> Hello {
    Hello::read(&message(stream).expect("a whole message")).expect("a sound hello")
}

#[test]
fn classes_follow_the_shape_alone() {
    let mut known: BTreeMap<Shape, u64> = BTreeMap::new();
    for (name, stream) in recorded() {
        let class = class(&stream);
        assert_ne!(class, 0, "{name} has no class");
        let shape = parts(&stream).shape().unwrap_or_else(|| panic!("{name} has no shape"));
        assert_eq!(*known.entry(shape).or_insert(class), class, "{name}: one shape, two classes");
    }
    let mut classes: Vec<u64> = known.values().copied().collect();
    classes.sort_unstable();
    classes.dedup();
    assert_eq!(classes.len(), known.len(), "two shapes share a class");
    let of = |name: &str| class(&recorded().into_iter().find(|(known, _)| known == name).expect("recorded").1);
    assert_eq!(of("chrome-1"), of("chrome-2"), "Chrome shuffles its extensions");
    assert_eq!(of("python-full"), of("python-resumed"), "resumption is no other client");
    assert_ne!(of("curl-h1"), of("curl-h2"));
    assert_ne!(of("python"), of("wget"));
}

#[test]
fn a_hello_cut_anywhere_keeps_its_class() {
    let mut random = fastrand::Rng::with_seed(11);
    for (name, stream) in recorded() {
        let whole = class(&stream);
        for cut in 1..stream.len() {
            let seen = on_host(&tls().send_cut(&stream, &[cut]));
            assert_eq!(seen.fingerprint, whole, "{name} cut at {cut}");
        }
        for _ in 0..100 {
            let cuts = cuts(&mut random, stream.len(), 30);
            assert_eq!(on_host(&tls().send_cut(&stream, &cuts)).fingerprint, whole, "{name} cut at {cuts:?}");
        }
        let all: Vec<usize> = (1..stream.len()).collect();
        assert_eq!(on_host(&tls().send_cut(&stream, &all)).fingerprint, whole, "{name} byte by byte");
        let hello = parts(&stream);
        for most in [1, 2, 3, 5, 64, 100, 500] {
            let records = hello.write_records(most);
            assert_eq!(class(&records), whole, "{name} in records of {most}");
            let cuts = cuts(&mut random, records.len(), 9);
            let seen = on_host(&tls().send_cut(&records, &cuts));
            assert_eq!(seen.fingerprint, whole, "{name} in records of {most}, cut at {cuts:?}");
        }
    }
}

#[test]
fn the_kernel_finds_the_same_class() {
    let Some(mut kernel) = kernel() else { return };
    let mut random = fastrand::Rng::with_seed(12);
    for (name, stream) in recorded() {
        let whole = class(&stream);
        assert_eq!(outcome(&mut kernel, &tls().send(&stream)).fingerprint, whole, "{name}");
        for round in 0..12 {
            let bytes = if round < 6 { stream.clone() } else { parts(&stream).write_records(random.usize(1..200)) };
            let cuts = cuts(&mut random, bytes.len(), 8);
            let conversation = tls().send_cut(&bytes, &cuts);
            let (host, kernel) = (on_host(&conversation), outcome(&mut kernel, &conversation));
            assert_eq!(kernel.fingerprint, whole, "{name} cut at {cuts:?}");
            assert_eq!((host.hello, host.records), (kernel.hello, kernel.records), "{name} cut at {cuts:?}");
        }
    }
}

#[test]
fn retransmissions_and_overlaps_change_nothing_disorder_gives_none() {
    let mut random = fastrand::Rng::with_seed(13);
    for (name, stream) in recorded() {
        let whole = class(&stream);
        for _ in 0..60 {
            let mut borders = cuts(&mut random, stream.len(), 3);
            borders.insert(0, 0);
            borders.push(stream.len());
            let pieces: Vec<(usize, usize)> = borders.windows(2).map(|pair| (pair[0], pair[1])).collect();
            let send = |order: &[(usize, usize)]| {
                let at = |byte: usize| u32::try_from(byte).expect("short");
                let start = tls();
                let all =
                    order.iter().fold(start, |so_far, (from, to)| so_far.segment("PA", at(*from), &stream[*from..*to]));
                on_host(&all)
            };
            let doubled: Vec<_> =
                pieces.iter().flat_map(|piece| [pieces[random.usize(..pieces.len())].min(*piece), *piece]).collect();
            assert_eq!(send(&doubled).fingerprint, whole, "{name} with duplicates {doubled:?}");
            let overlapped: Vec<_> = pieces.iter().map(|(from, to)| (random.usize(..=*from), *to)).collect();
            assert_eq!(send(&overlapped).fingerprint, whole, "{name} with overlaps {overlapped:?}");
            let mut shuffled = pieces.clone();
            random.shuffle(&mut shuffled);
            let seen = send(&shuffled);
            let in_order = shuffled == pieces;
            assert_eq!(seen.fingerprint, if in_order { whole } else { 0 }, "{name} in the order {shuffled:?}");
            assert_eq!(seen.flags & flag::STREAM_GAP != 0, !in_order, "{name} in the order {shuffled:?}");
        }
    }
}

#[test]
fn order_grease_padding_and_resumption_do_not_matter() {
    let mut random = fastrand::Rng::with_seed(14);
    for (name, stream) in recorded() {
        let whole = class(&stream);
        for _ in 0..30 {
            let mut hello = parts(&stream);
            random.shuffle(&mut hello.ciphers);
            random.fill(&mut hello.random);
            let grease = u16::from_be_bytes([0x1a + 0x10 * random.u8(0..14); 2]);
            hello.ciphers.retain(|suite| !is_grease(*suite));
            hello.ciphers.insert(random.usize(..=hello.ciphers.len()), grease);
            let mut extensions = hello.extensions.take().expect("all of them have some");
            extensions.retain(|(kind, _)| !matches!(*kind, PADDING | PRE_SHARED_KEY | EARLY_DATA) && !is_grease(*kind));
            random.shuffle(&mut extensions);
            extensions.insert(0, (grease, vec![0; random.usize(..3)]));
            if random.bool() {
                extensions.push((PADDING, vec![0; random.usize(..200)]));
            }
            if random.bool() {
                extensions.push((EARLY_DATA, Vec::new()));
                extensions.push((PRE_SHARED_KEY, vec![7; 100]));
            }
            hello.extensions = Some(extensions);
            assert_eq!(class(&hello.write()), whole, "{name} as {hello:?}");
        }
    }
}

#[test]
fn every_part_of_the_shape_matters() {
    for (name, stream) in recorded() {
        let whole = class(&stream);
        let changed = |change: &dyn Fn(&mut Hello)| {
            let mut hello = parts(&stream);
            change(&mut hello);
            let class = class(&hello.write());
            assert_ne!(class, 0, "{name}: a sound hello has a class");
            class
        };
        let extension = |hello: &mut Hello, kind: u16, data: Vec<u8>| {
            let all = hello.extensions.as_mut().expect("all of them have some");
            all.retain(|(known, _)| *known != kind);
            all.push((kind, data));
        };
        assert_ne!(whole, changed(&|hello| hello.ciphers.push(0x5600)), "{name}: another cipher suite");
        assert_ne!(whole, changed(&|hello| extension(hello, 0x7777, vec![1])), "{name}: another extension");
        let algorithms = vec![0, 4, 4, 3, 8, 4];
        assert_ne!(whole, changed(&|hello| extension(hello, SIGNATURE_ALGORITHMS, algorithms.clone())), "{name}");
        assert_ne!(whole, changed(&|hello| extension(hello, ALPN, vec![0, 3, 2, b'q', b'z'])), "{name}: ALPN");
        assert_ne!(whole, changed(&|hello| extension(hello, SUPPORTED_VERSIONS, vec![2, 3, 1])), "{name}: version");
    }
}

#[test]
fn lies_and_excess_give_no_class() {
    let base = parts(&recorded().into_iter().find(|(name, _)| name == "python").expect("recorded").1);
    let with = |change: &dyn Fn(&mut Hello)| {
        let mut hello = base.clone();
        change(&mut hello);
        class(&hello.write())
    };
    let add = |kind: u16, data: Vec<u8>| {
        with(&|hello| {
            let all = hello.extensions.as_mut().expect("it has some");
            all.retain(|(known, _)| *known != kind);
            all.push((kind, data.clone()));
        })
    };
    let twice = |kind: u16| {
        with(&|hello| {
            let all = hello.extensions.as_mut().expect("it has some");
            let found = all.iter().find(|(known, _)| *known == kind).expect("it has this one").clone();
            all.push(found);
        })
    };
    assert_ne!(with(&|_| {}), 0);
    for kind in [0, SIGNATURE_ALGORITHMS, SUPPORTED_VERSIONS] {
        assert_eq!(twice(kind), 0, "extension {kind} twice");
    }
    for (what, kind, data) in [
        ("empty algorithms", SIGNATURE_ALGORITHMS, vec![]),
        ("no algorithm", SIGNATURE_ALGORITHMS, vec![0, 0]),
        ("odd algorithms", SIGNATURE_ALGORITHMS, vec![0, 3, 4, 3, 8]),
        ("algorithms that end early", SIGNATURE_ALGORITHMS, vec![0, 2, 4, 3, 8, 4]),
        ("algorithms that end late", SIGNATURE_ALGORITHMS, vec![0, 6, 4, 3, 8, 4]),
        ("65 algorithms", SIGNATURE_ALGORITHMS, [&[0, 130][..], &[4; 130]].concat()),
        ("no protocol", ALPN, vec![0, 0]),
        ("empty protocol", ALPN, vec![0, 1, 0]),
        ("protocol longer than the list", ALPN, vec![0, 3, 3, b'a', b'b']),
        ("list longer than the extension", ALPN, vec![0, 9, 2, b'a', b'b']),
        ("no version", SUPPORTED_VERSIONS, vec![0]),
        ("odd versions", SUPPORTED_VERSIONS, vec![3, 3, 4, 3]),
        ("versions that end late", SUPPORTED_VERSIONS, vec![4, 3, 4]),
    ] {
        assert_eq!(add(kind, data), 0, "{what}");
    }
    let many =
        |count: u16| with(&|hello| hello.extensions = Some((100..100 + count).map(|kind| (kind, vec![])).collect()));
    assert_ne!(many(100), 0, "100 extensions");
    assert_eq!(many(101), 0, "101 extensions");
    let suites = |count: u16| with(&|hello| hello.ciphers = (0x4000..0x4000 + count).collect());
    assert_ne!(suites(255), 0, "255 cipher suites");
    assert_eq!(suites(256), 0, "256 cipher suites");
    assert_eq!(with(&|hello| hello.ciphers.clear()), 0, "no cipher suite");
    assert_eq!(with(&|hello| hello.session = vec![0; 33]), 0, "session of 33 bytes");
    assert_eq!(with(&|hello| hello.compression.clear()), 0, "no compression");
    assert_ne!(with(&|hello| hello.extensions = None), 0, "no extensions at all");
    assert_ne!(with(&|hello| hello.extensions = Some(vec![])), 0, "an empty extension block");
    assert_ne!(with(&|hello| hello.extensions = Some(vec![(99, vec![0; 16_000])])), 0, "an extension of 16,000 bytes");
    assert_eq!(with(&|hello| hello.extensions = Some(vec![(99, vec![0; 17_000])])), 0, "a message above 16,384 bytes");
}

/// Damaged hellos: a reader of another make decides which of them are hellos still.
#[test]
fn a_damaged_hello_has_the_class_of_its_shape_or_none() {
    let mut random = fastrand::Rng::with_seed(15);
    let mut known: BTreeMap<Shape, u64> = BTreeMap::new();
    let (mut classed, mut refused) = (0, 0);
    for (name, stream) in recorded() {
        for _ in 0..400 {
            let mut bytes = stream.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                match random.u8(..4) {
                    0 => bytes[at] ^= 1 << random.u8(..8),
                    1 => bytes[at] = random.u8(..),
                    2 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, random.u8(..)),
                }
            }
            let expected = message(&bytes).and_then(|message| Hello::read(&message)).and_then(|hello| hello.shape());
            let cuts = cuts(&mut random, bytes.len(), 3);
            let class = on_host(&tls().send_cut(&bytes, &cuts)).fingerprint;
            match expected {
                Some(shape) => {
                    assert_ne!(class, 0, "{name}: a sound hello without a class: {bytes:02x?}");
                    assert_eq!(*known.entry(shape).or_insert(class), class, "{name}: {bytes:02x?}");
                    classed += 1;
                }
                None => {
                    assert_eq!(class, 0, "{name}: a class of what is no hello: {bytes:02x?}");
                    refused += 1;
                }
            }
        }
    }
    let mut classes: Vec<u64> = known.values().copied().collect();
    classes.sort_unstable();
    classes.dedup();
    assert_eq!(classes.len(), known.len(), "two shapes share a class");
    println!("{classed} classed, {refused} refused, {} shapes", known.len());
    assert!(classed > 100 && refused > 100, "the damage is neither too small nor too large");
}
