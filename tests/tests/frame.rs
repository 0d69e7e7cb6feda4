//! The frame notation against etherparse's own reading of the bytes.

use std::net::Ipv4Addr;

use etherparse::{LinkExtSlice, NetSlice, SlicedPacket, TransportSlice};
use sensor_tests::frame::{frame, steps};

#[test]
fn every_part_of_a_tcp_frame_arrives() {
    let text = r#"vlan 5 vlan 6 v4 203.0.113.9:40001 > 192.0.2.1:8000 PA seq 7 ack 9 win 100 nop nop ts 100,3 df ttl 9
                  options 94040000 payload "GET / HTTP/1.1\r\n" fill 2 bytes 00ff"#
        .replace('\n', " ");
    let bytes = frame(&text).expect("the text is right");
    let packet = SlicedPacket::from_ethernet(&bytes).expect("etherparse reads it");
    let tags: Vec<u16> = packet
        .link_exts
        .iter()
        .map(|tag| match tag {
            LinkExtSlice::Vlan(vlan) => vlan.vlan_identifier().value(),
            other => panic!("no VLAN tag: {other:?}"),
        })
        .collect();
    assert_eq!(tags, [5, 6]);
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("no IPv4") };
    assert_eq!(ip.header().source_addr(), Ipv4Addr::new(203, 0, 113, 9));
    assert_eq!((ip.header().ttl(), ip.header().dont_fragment(), ip.header().options().len()), (9, true, 4));
    assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { panic!("no TCP") };
    assert_eq!((tcp.source_port(), tcp.destination_port()), (40001, 8000));
    assert_eq!((tcp.sequence_number(), tcp.acknowledgment_number(), tcp.window_size()), (7, 9, 100));
    assert!(tcp.psh() && tcp.ack() && !tcp.syn());
    assert_eq!(tcp.options(), [1, 1, 8, 10, 0, 0, 0, 100, 0, 0, 0, 3]);
    assert_eq!(tcp.payload(), b"GET / HTTP/1.1\r\nxx\x00\xff");
    let sum = tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination()).expect("short enough");
    assert_eq!(tcp.checksum(), sum, "the TCP checksum is right");
}

#[test]
fn ipv6_extension_headers_lead_to_the_transport() {
    let bytes =
        frame("v6 [2001:db8::9]:1 > [2001:db8::1]:53 udp hop dest route auth fill 3").expect("the text is right");
    let packet = SlicedPacket::from_ethernet(&bytes).expect("etherparse reads it");
    let Some(TransportSlice::Udp(udp)) = &packet.transport else { panic!("no UDP: {:?}", packet.transport) };
    assert_eq!((udp.destination_port(), udp.payload()), (53, &b"xxx"[..]));
}

#[test]
fn fragments_say_so() {
    for (text, offset, more) in [("frag", 0, true), ("frag 185", 185, false), ("frag 3+", 3, true)] {
        let bytes = frame(&format!("v4 S {text}")).expect("the text is right");
        let packet = SlicedPacket::from_ethernet(&bytes).expect("etherparse reads it");
        let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("no IPv4") };
        assert_eq!((ip.header().fragments_offset().value(), ip.header().more_fragments()), (offset, more), "{text}");
        assert!(packet.transport.is_none(), "{text}: etherparse reads no ports of fragments");
    }
}

#[test]
fn lengths_and_bytes_can_be_spoilt() {
    let whole = frame("v4 S").expect("the text is right");
    assert_eq!(whole.len(), 54);
    assert_eq!(frame("v4 S cut 7").expect("cut"), whole[..47]);
    assert_eq!(frame("v4 S keep 20").expect("keep"), whole[..20]);
    assert_eq!(frame("v4 S pad 6").expect("pad").len(), 60);
    assert_eq!(frame("v4 S poke 14 46").expect("poke")[14], 0x46);
    assert_eq!(frame("raw 0102ff").expect("raw"), [1, 2, 255]);
    assert_eq!(frame("arp").expect("arp")[12..14], [8, 6]);
}

#[test]
fn times_add_up_between_frames() {
    let all = steps("v4 S ; +30ms v4 A ; +2s v4 PA").expect("the text is right");
    let times: Vec<u128> = all.iter().map(|step| step.after.as_millis()).collect();
    assert_eq!(times, [0, 30, 2000]);
}

#[test]
fn what_is_wrong_is_named() {
    for (text, complaint) in [
        ("", "`v4`, `v6`, `arp` or `raw` is missing at the end"),
        ("v5 S", "`v5`: a frame begins with `v4`, `v6`, `arp` or `raw`"),
        ("v4 1.2.3.4.5 S", "`1.2.3.4.5` is no address, no address with port and no `:PORT`"),
        ("v4 S seq", "a sequence number is missing at the end"),
        ("v4 S seq x", "`x` is not a sequence number"),
        ("v4 S ts 5", "`ts 5`: write `ts 100,0`"),
        ("v4 udp S", "TCP words beside `udp` or `proto`"),
        ("v4 S payload GET", "GET is not in quotes"),
        ("v4 S payload \"GET", "a quote is not closed"),
        ("v4 S bytes 0", "`0` are no pairs of hex digits"),
        ("v4 S hop", "IPv4 has no extension headers"),
        ("v4 S cut 90", "Cut(90) of a frame of 54 bytes"),
        ("v4 1.2.3.4 > 2001:db8::1 S", "1.2.3.4 and 2001:db8::1 are of different IP versions"),
        ("+5 v4 S", "`+5` is no time: write `+30ms`, `+2s` or `+500us`"),
    ] {
        let error = frame(text).expect_err(text);
        assert_eq!(error.to_string(), complaint, "{text}");
    }
}
