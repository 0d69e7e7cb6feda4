//! Every form of capture gives the same evidence.

use sensor::capture_file::Options;

use super::write::{pcap, pcap_big, pcapng};
use super::{frames, given};

type Frames = Vec<(u64, Vec<u8>)>;

/// Each frame's IP packet behind something else than its Ethernet header.
fn behind(frames: &Frames, header: impl Fn(&[u8]) -> Vec<u8>) -> Frames {
    frames.iter().map(|(at, frame)| (*at, [&header(&frame[12..14])[..], &frame[14..]].concat())).collect()
}

#[test]
fn every_form_gives_the_same_evidence() {
    for number in ["0000", "0420", "0493"] {
        let frames = frames(number);
        let (expected, summary) = given(&pcap(1, &frames), &Options::default());
        assert_eq!((expected.len(), summary.expect("sound").broken), (1, None));
        assert!(expected[0].ja4.is_some() && expected[0].flight_gap_us.is_some(), "{expected:?}");
        let vlan = |tags: &[u8]| {
            let tags = tags.to_vec();
            behind(&frames, move |kind| [&[2; 12][..], &tags, kind].concat())
        };
        let cooked = behind(&frames, |kind| [&[0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0][..], kind].concat());
        let cooked2 = behind(&frames, |kind| [kind, &[0; 18][..]].concat());
        let raw = behind(&frames, |_| Vec::new());
        let rows: [(&str, Vec<u8>); 16] = [
            ("big endian, nanoseconds", pcap_big(1, &frames)),
            ("pcapng", pcapng(1, None, &frames)),
            ("pcapng, nanoseconds", pcapng(1, Some(9), &frames)),
            ("pcapng, 2^-40 s", pcapng(1, Some(0x80 | 30), &frames)),
            ("VLAN", pcap(1, &vlan(&[0x81, 0, 0, 7]))),
            ("two VLANs", pcapng(1, None, &vlan(&[0x88, 0xa8, 0, 7, 0x81, 0, 0, 8]))),
            ("cooked", pcap(113, &cooked)),
            ("cooked, pcapng", pcapng(113, Some(6), &cooked)),
            ("cooked 2", pcap(276, &cooked2)),
            ("cooked 2, pcapng", pcapng(276, None, &cooked2)),
            ("raw", pcap(101, &raw)),
            ("raw, as BSD numbers it", pcap(12, &raw)),
            ("raw IPv4", pcapng(228, None, &raw)),
            ("raw, with a checksum said to be behind", pcap(101 | 0x1000_0000, &raw)),
            ("loopback", pcap(0, &behind(&frames, |_| vec![2, 0, 0, 0]))),
            ("loopback, network order", pcap(108, &behind(&frames, |_| vec![0, 0, 0, 2]))),
        ];
        for (name, file) in rows {
            let (found, summary) = given(&file, &Options::default());
            let summary = summary.unwrap_or_else(|error| panic!("{number}, {name}: {error}"));
            assert_eq!((summary.broken, summary.frames), (None, frames.len() as u64), "{number}, {name}");
            // What is rounded to microseconds may come out one lower.
            let close = |a: u64, b: u64| a.abs_diff(b) <= 2;
            let [found, expected] = [&found[0], &expected[0]];
            assert!(close(found.duration_us, expected.duration_us), "{number}, {name}");
            assert!(close(found.started_unix_us, expected.started_unix_us), "{number}, {name}");
            let rounded = sensor::evidence::Evidence {
                duration_us: expected.duration_us,
                started_unix_us: expected.started_unix_us,
                rtt_us: found.rtt_us.filter(|us| close((*us).into(), expected.rtt_us.unwrap_or(0).into())),
                hello_gap_us: found.hello_gap_us,
                ..expected.clone()
            };
            let found = sensor::evidence::Evidence {
                duration_us: expected.duration_us,
                started_unix_us: expected.started_unix_us,
                ..found.clone()
            };
            assert_eq!(found, rounded, "{number}, {name}");
        }
    }
}

#[test]
fn ports_choose_what_is_watched() {
    let frames = frames("0420");
    let file = pcap(1, &frames);
    let (all, summary) = given(&file, &Options::default());
    let service = all[0].service;
    assert_eq!(summary.expect("sound").services, [service]);
    let (same, _) = given(&file, &Options { ports: vec![1, service], ..Options::default() });
    assert_eq!(same, all);
    let (other, summary) = given(&file, &Options { ports: vec![1], ..Options::default() });
    let summary = summary.expect("sound");
    assert_eq!((summary.connections, summary.outgoing), (0, 0));
    // Its hello is shown all the same.
    assert_eq!(other.iter().map(|one| (one.ja4.clone(), one.rtt_us)).collect::<Vec<_>>(), [(all[0].ja4.clone(), None)]);
}

#[test]
fn frames_that_the_capture_cut_keep_their_times() {
    let whole = frames("0493");
    let (expected, _) = given(&pcap(1, &whole), &Options::default());
    let mut file = super::write::pcap_header(0xa1b2_c3d4, 1, 80);
    for (at, frame) in &whole {
        let kept = &frame[..frame.len().min(80)];
        file.extend(super::write::pcap_packet(*at, kept.len() as u32, frame.len() as u32, kept));
    }
    let (found, summary) = given(&file, &Options::default());
    let summary = summary.expect("sound");
    assert!(summary.cut > 0 && summary.broken.is_none(), "{summary:?}");
    let [found, expected] = [&found[0], &expected[0]];
    assert_eq!((found.rtt_us, found.hello_gap_us), (expected.rtt_us, expected.hello_gap_us));
    assert_eq!((&found.ja4, &found.class), (&None, &None), "what was not seen has no name");
    assert!(found.flags.iter().any(|name| name == "stream_gap"), "{found:?}");
}
