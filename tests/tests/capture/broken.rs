//! Broken and hostile captures: a clear error, and nothing lost of what came before.

use sensor::capture_file::{Broken, Options};

use super::write::{block, enhanced, interface, pcap, pcap_header, pcap_packet, pcapng, section};
use super::{frames, given};

#[test]
fn a_file_cut_anywhere_gives_what_came_before() {
    let frames = frames("0420");
    for file in [pcap(1, &frames), pcapng(1, None, &frames)] {
        let (whole, summary) = given(&file, &Options::default());
        assert_eq!((summary.expect("sound").frames, whole.len()), (frames.len() as u64, 1));
        let mut before = 0;
        for length in 0..file.len() {
            let (found, outcome) = given(&file[..length], &Options::default());
            match outcome {
                Ok(summary) => {
                    assert!(summary.frames >= before, "{length} bytes");
                    before = summary.frames;
                    let sound = summary.broken.is_none();
                    let cut = matches!(summary.broken, Some(Broken::Truncated { packets }) if packets == before);
                    assert!(sound || cut, "{length} bytes: {:?}", summary.broken);
                    assert!(summary.frames < 3 || found.len() == 1, "{length} bytes: {found:?}");
                }
                Err(Broken::Truncated { packets: 0 } | Broken::Unknown) => assert_eq!(before, 0, "{length} bytes"),
                Err(other) => panic!("{length} bytes: {other}"),
            }
        }
    }
}

#[test]
fn lies_of_a_file_end_it_with_what_came_before() {
    let frames = frames("0420");
    let sound = pcap(1, &frames);
    let ng = pcapng(1, None, &frames);
    let packets = frames.len() as u64;
    let lie = |kept: u32| [&sound[..], &pcap_packet(0, kept, kept, &[0; 64])].concat();
    let long = [&sound[..], &pcap_packet(0, 17 << 20, 17 << 20, &vec![0; 18 << 20])].concat();
    let no_length = [&ng[..], &[6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], &[0; 64]].concat();
    let other_end = [&ng[..], &[6, 0, 0, 0, 32, 0, 0, 0], &[0; 20], &[33, 0, 0, 0]].concat();
    let rows: [(&str, Vec<u8>, Broken); 9] = [
        ("a packet of 4 GiB", lie(u32::MAX), Broken::Oversized { packets }),
        ("a packet of 2 GiB", lie(1 << 31), Broken::Oversized { packets }),
        ("a packet that is not there", lie(100), Broken::Truncated { packets }),
        ("a packet that is there, and too long", long, Broken::Oversized { packets }),
        ("a block of 4 GiB", no_length, Broken::Oversized { packets }),
        ("a block of two lengths", other_end, Broken::Malformed { packets }),
        (
            "an interface that is not there",
            [&ng[..], &enhanced(7, 0, 4, &[0; 4])].concat(),
            Broken::Malformed { packets },
        ),
        (
            "more bytes than the block has",
            [&ng[..], &enhanced(0, 0, 4_000, &[0; 4])].concat(),
            Broken::Truncated { packets },
        ),
        ("a clock of 10^-200 s", [&ng[..], &interface(1, Some(100))].concat(), Broken::Malformed { packets }),
    ];
    for (name, file, expected) in rows {
        let (found, outcome) = given(&file, &Options::default());
        let summary = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((summary.broken, summary.frames), (Some(expected), packets), "{name}");
        assert_eq!(found.len(), 1, "{name}: what came before is there");
        assert!(found[0].ja4.is_some(), "{name}");
    }
}

#[test]
fn what_is_no_capture_is_refused() {
    let rows: [(&str, Vec<u8>); 5] = [
        ("empty", Vec::new()),
        ("text", b"client,server\n1,2\n".to_vec()),
        ("gzip", [&[0x1f, 0x8b, 8, 0][..], &[0; 64]].concat()),
        ("zeros", vec![0; 4_096]),
        ("a section header of no length", block(0x0a0d_0d0a, &[])),
    ];
    for (name, file) in rows {
        let (found, outcome) = given(&file, &Options::default());
        assert!(
            found.is_empty() && matches!(outcome, Err(Broken::Unknown | Broken::Truncated { .. })),
            "{name}: {outcome:?}"
        );
    }
    let (_, outcome) = given(&pcap(127, &[(0, vec![0; 40])]), &Options::default());
    assert_eq!(outcome.expect("readable").broken, Some(Broken::Link { number: 127 }));
}

#[test]
fn odd_but_sound_files() {
    let frames = frames("0420");
    let (expected, _) = given(&pcap(1, &frames), &Options::default());
    // A snaplen of 4 GiB, and one of 0.
    for snaplen in [u32::MAX, 0] {
        let mut file = pcap_header(0xa1b2_c3d4, 1, snaplen);
        for (at, frame) in &frames {
            file.extend(pcap_packet(*at, frame.len() as u32, frame.len() as u32, frame));
        }
        assert_eq!(given(&file, &Options::default()).0, expected, "snaplen {snaplen}");
    }
    // Blocks that hold no frame, of known and unknown kinds, and a second section.
    let mut file = [section(), block(0xbad, &[1, 2, 3, 4]), interface(1, None)].concat();
    file.extend(&pcapng(1, None, &frames)[..]);
    file.extend(block(5, &[0; 12]));
    assert_eq!(given(&file, &Options::default()).0, expected);
    // A length on the wire that no frame has.
    let mut file = pcap_header(0xa1b2_c3d4, 1, 65_535);
    for (at, frame) in &frames {
        file.extend(pcap_packet(*at, frame.len() as u32, u32::MAX, frame));
    }
    assert_eq!(given(&file, &Options::default()).0, expected);
}

#[test]
fn time_never_runs_backwards() {
    let frames = frames("0420");
    let (expected, _) = given(&pcap(1, &frames), &Options::default());
    // All but the first claim to be an hour older.
    let mut bent = frames.clone();
    bent.iter_mut().skip(1).for_each(|(at, _)| *at -= 3_600_000_000_000);
    let (found, summary) = given(&pcap(1, &bent), &Options::default());
    let summary = summary.expect("sound");
    assert_eq!((summary.backwards, summary.broken), (frames.len() as u64 - 1, None));
    assert_eq!(found[0].ja4, expected[0].ja4);
    assert_eq!(found[0].started_unix_us, expected[0].started_unix_us);
    assert!(found[0].rtt_us.is_some_and(|us| us < 10), "taken together: {found:?}");
    // The ends of time.
    let mut far = frames.clone();
    far[0].0 = 0;
    let last = far.len() - 1;
    far[last].0 = u64::from(u32::MAX) * 1_000_000_000;
    let (found, summary) = given(&pcap(1, &far), &Options::default());
    assert_eq!(summary.expect("sound").broken, None);
    assert!(!found.is_empty());
}
