//! One client's side of a TCP connection, as frames: keeps sequence numbers, timestamps and time.

use std::net::IpAddr;
use std::time::Duration;

use etherparse::{PacketBuilder, PacketBuilderStep, TcpHeader, TcpOptionElement};

use super::Executor;
use crate::frame::Step;
use crate::lab::address::{PLAIN_PORT, SERVER_V4, SERVER_V6, TLS_PORT};

/// A client, its connection, and the frames it has sent.
#[derive(Clone, Debug)]
pub struct Conversation {
    pub client: (IpAddr, u16),
    /// Server port.
    pub service: u16,
    pub isn: u32,
    /// Server's initial sequence number.
    pub server_isn: u32,
    /// Bytes sent, the SYN not counted.
    pub sent: u32,
    /// Bytes received, the SYN not counted.
    pub received: u32,
    /// Sender timestamp at the start; `None` sends none.
    pub timestamps: Option<u32>,
    /// Time passed since the start by the sender's clock, milliseconds.
    pub clock_ms: u32,
    /// Time until the next frame.
    pause: Duration,
    /// What was sent so far.
    pub steps: Vec<Step>,
}

impl Conversation {
    /// A client that has sent nothing yet.
    #[must_use]
    pub fn new(client: impl Into<IpAddr>, service: u16) -> Self {
        Self {
            client: (client.into(), 40_000),
            service,
            isn: 1_000,
            server_isn: 5_000,
            sent: 0,
            received: 0,
            timestamps: Some(70_000),
            clock_ms: 0,
            pause: Duration::ZERO,
            steps: Vec::new(),
        }
    }

    /// A client of the plaintext service, after its handshake of 10 ms.
    #[must_use]
    pub fn plain(client: impl Into<IpAddr>) -> Self {
        Self::new(client, PLAIN_PORT).shake(10)
    }

    /// A client of the TLS service, after its handshake of 10 ms.
    #[must_use]
    pub fn tls(client: impl Into<IpAddr>) -> Self {
        Self::new(client, TLS_PORT).shake(10)
    }

    /// Handshake with this round trip.
    #[must_use]
    pub fn shake(self, rtt_ms: u32) -> Self {
        self.flags("S").wait(rtt_ms).ack()
    }

    /// Lets time pass, on both clocks.
    #[must_use]
    pub fn wait(mut self, ms: u32) -> Self {
        self.clock_ms += ms;
        self.pause += Duration::from_millis(ms.into());
        self
    }

    /// Lets time pass on the way only, not by the sender's clock.
    #[must_use]
    pub fn delay(mut self, ms: u32) -> Self {
        self.pause += Duration::from_millis(ms.into());
        self
    }

    /// The server sends this much.
    #[must_use]
    pub fn receive(mut self, bytes: u32) -> Self {
        self.received = self.received.wrapping_add(bytes);
        self
    }

    /// A pure acknowledgement of what was received.
    #[must_use]
    pub fn ack(self) -> Self {
        self.flags("A")
    }

    /// New payload in one segment.
    #[must_use]
    pub fn send(mut self, payload: &[u8]) -> Self {
        let at = self.sent;
        self = self.segment("PA", at, payload);
        self.sent = at.wrapping_add(u32::try_from(payload.len()).expect("a segment is short"));
        self
    }

    /// New payload, cut at these offsets into segments.
    #[must_use]
    pub fn send_cut(mut self, payload: &[u8], cuts: &[usize]) -> Self {
        let mut from = 0;
        for cut in cuts.iter().copied().chain([payload.len()]) {
            if cut > from {
                self = self.send(&payload[from..cut]);
                from = cut;
            }
        }
        self
    }

    /// A segment with these flags and no payload, at the sender's present position. A FIN takes one number.
    #[must_use]
    pub fn flags(mut self, flags: &str) -> Self {
        let at = if flags.contains('S') { u32::MAX } else { self.sent };
        self = self.segment(flags, at, &[]);
        if flags.contains('F') {
            self.sent = self.sent.wrapping_add(1);
        }
        self
    }

    /// Any segment: `at` counts from the first byte behind the SYN. Changes nothing but the list of frames.
    #[must_use]
    pub fn segment(mut self, flags: &str, at: u32, payload: &[u8]) -> Self {
        let mut tcp = TcpHeader::new(self.client.1, self.service, self.isn.wrapping_add(1).wrapping_add(at), 64_240);
        tcp.syn = flags.contains('S');
        tcp.ack = flags.contains('A');
        tcp.psh = flags.contains('P');
        tcp.fin = flags.contains('F');
        tcp.rst = flags.contains('R');
        if tcp.ack {
            tcp.acknowledgment_number = self.server_isn.wrapping_add(1).wrapping_add(self.received);
        }
        if let Some(start) = self.timestamps {
            let value = start.wrapping_add(self.clock_ms);
            let options = if tcp.syn {
                vec![
                    TcpOptionElement::MaximumSegmentSize(1460),
                    TcpOptionElement::SelectiveAcknowledgementPermitted,
                    TcpOptionElement::Timestamp(value, 0),
                    TcpOptionElement::Noop,
                    TcpOptionElement::WindowScale(10),
                ]
            } else {
                vec![TcpOptionElement::Noop, TcpOptionElement::Noop, TcpOptionElement::Timestamp(value, 1)]
            };
            tcp.set_options(&options).expect("the options fit");
        }
        let frame = write(ip(self.client.0).tcp_header(tcp), payload);
        self.steps.push(Step { after: std::mem::take(&mut self.pause), frame });
        self
    }

    /// This conversation, and then another one's frames.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.steps.extend(other.steps);
        self
    }

    /// Runs what was sent so far; whether each frame was dropped.
    pub fn run(&self, executor: &mut dyn Executor) -> Vec<bool> {
        self.steps.iter().map(|step| executor.run(step.after, &step.frame)).collect()
    }
}

fn ip(client: IpAddr) -> PacketBuilderStep<etherparse::IpHeaders> {
    let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    match client {
        IpAddr::V4(v4) => link.ipv4(v4.octets(), SERVER_V4.octets(), 64),
        IpAddr::V6(v6) => link.ipv6(v6.octets(), SERVER_V6.octets(), 64),
    }
}

fn write(packet: PacketBuilderStep<TcpHeader>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(packet.size(payload.len()));
    packet.write(&mut bytes, payload).expect("a packet fits into memory");
    bytes
}
