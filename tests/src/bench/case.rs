//! The table of cases: one row each.

use super::subject::{Rules, Subject};
use super::traffic::{Kind, Range, Traffic, UNWATCHED_PORT};
use crate::lab::address::TLS_PORT;

/// How a case is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// The program alone, by `BPF_PROG_TEST_RUN`.
    Run,
    /// Live frames over a veth; one core generates and receives.
    Live,
    /// The same on two cores at once, a queue each.
    LiveTwo,
    /// Live frames into the interface to which the subject attached itself: what it passes goes to the host.
    Attached,
}

impl Way {
    /// As a parameter of a row.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => "test_run",
            Self::Live => "live",
            Self::LiveTwo => "live, two cores",
            Self::Attached => "live, attached",
        }
    }

    /// Cores at work.
    pub const fn cores(self) -> u32 {
        if matches!(self, Self::LiveTwo) { 2 } else { 1 }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What is sent.
    pub traffic: Traffic,
    /// The connections are established before.
    pub established: bool,
    /// Who receives.
    pub subjects: &'static [Subject],
    /// How it is measured.
    pub ways: &'static [Way],
}

use Rules::{Addresses1k, Addresses100k, Beside, Hits, Limits, None, Prefixes100k};
use Subject::{
    Floor, Lru, NftDrop, NftMeter, NftSet, Nothing, Parse, Sensor, XdpFilterAddress, XdpFilterAddresses, XdpFilterPort,
};
use Way::{Attached, Live, LiveTwo, Run};

/// 65,536 sources.
const K64: u64 = 1 << 16;
/// 1,048,576 sources.
const M1: u64 = 1 << 20;
/// So many that practically every frame is of a new one.
const G1: u64 = 1 << 30;

const ALL: &[Subject] = &[Floor, Parse, Lru, Sensor(None), XdpFilterPort, NftDrop, NftMeter];
const PROGRAMS: &[Subject] = &[Floor, Lru, Sensor(None)];
const OURS: &[Subject] = &[Floor, Sensor(None)];
const RULES: &[Subject] = &[Floor, Sensor(Beside), Sensor(Addresses1k), Sensor(Addresses100k), Sensor(Prefixes100k)];

const fn case(
    name: &'static str,
    traffic: Traffic,
    established: bool,
    subjects: &'static [Subject],
    ways: &'static [Way],
) -> Case {
    Case { name, traffic, established, subjects, ways }
}

/// A frame of a connection that stands.
const fn segment(kind: Kind, sources: u64) -> Traffic {
    Traffic::syn(sources).kind(kind).connected(1)
}

/// Every case. The meter of nftables gets no other sources than those of the floods up to 1 M: its set would be full, and
/// a full set does not meter.
pub const CASES: &[Case] = &[
    case("flood_1", Traffic::syn(1), false, ALL, &[Run, Live, LiveTwo]),
    case("flood_64k", Traffic::syn(K64), false, ALL, &[Run, Live]),
    case("flood_1m", Traffic::syn(M1), false, ALL, &[Run, Live, LiveTwo]),
    case("flood_1g", Traffic::syn(G1), false, &[Floor, Parse, Lru, Sensor(None)], &[Run, Live]),
    case("flood_v6_64k", Traffic::syn(K64).from(Range::V6), false, PROGRAMS, &[Run, Live]),
    case("flood_v6_1m", Traffic::syn(M1).from(Range::V6), false, PROGRAMS, &[Run, Live]),
    case("established_1", segment(Kind::Ack, 1), true, PROGRAMS, &[Run, Live]),
    case("established_64k", segment(Kind::Ack, K64), true, PROGRAMS, &[Run]),
    case("established_1m", segment(Kind::Ack, M1), true, PROGRAMS, &[Run, Live]),
    case("untracked_1m", Traffic::syn(M1).kind(Kind::Ack), false, PROGRAMS, &[Run]),
    case("request_1", segment(Kind::Request, 1), true, PROGRAMS, &[Run, Live]),
    case("request_16k", segment(Kind::Request, 1 << 14), true, PROGRAMS, &[Run]),
    case("hello_16k", segment(Kind::Hello, 1 << 14).to(TLS_PORT), true, PROGRAMS, &[Run]),
    case("udp_64k", Traffic::syn(K64).kind(Kind::Udp), false, PROGRAMS, &[Run]),
    case("unwatched_64k", Traffic::syn(K64).to(UNWATCHED_PORT), false, OURS, &[Run]),
    case("limits_flood_64k", Traffic::syn(K64), false, &[Floor, Sensor(None), Sensor(Limits)], &[Run]),
    case("limits_request_1", segment(Kind::Request, 1), true, &[Floor, Sensor(None), Sensor(Limits)], &[Run]),
    case("unlisted_64k", Traffic::syn(K64), false, RULES, &[Run, Live]),
    case("unlisted_1m", Traffic::syn(M1), false, RULES, &[Run, Live]),
    case(
        "deny_1",
        Traffic::syn(1).from(Range::Denied),
        false,
        &[Floor, Sensor(Hits), XdpFilterAddress, XdpFilterAddresses, NftSet],
        &[Run, Attached],
    ),
    case(
        "deny_8k",
        Traffic::syn(1 << 13).from(Range::Denied),
        false,
        &[Floor, Sensor(Hits), XdpFilterAddresses, NftSet],
        &[Run, Attached],
    ),
    case("deny_64k", Traffic::syn(K64).from(Range::Denied), false, &[Floor, Sensor(Hits), NftSet], &[Run, Attached]),
    case("deny_prefix_1m", Traffic::syn(M1).from(Range::Covered), false, &[Floor, Sensor(Hits)], &[Run, Attached]),
    case("allow_1", Traffic::syn(1).from(Range::Allowed), false, &[Floor, Sensor(None), Sensor(Hits)], &[Run]),
    case("allow_64k", Traffic::syn(K64).from(Range::Allowed), false, &[Floor, Sensor(None), Sensor(Hits)], &[Run]),
    case("to_host_64k", Traffic::syn(K64).to(UNWATCHED_PORT), false, &[Nothing, Sensor(None), NftDrop], &[Attached]),
];
