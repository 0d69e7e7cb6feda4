//! The packet path: one frame in, one verdict out. Constant work; time is an argument.

use crate::counter::Counter;
use crate::evidence;
use crate::stats::SourceStats;
use crate::tables::{Frame, Tables};
use crate::wire::{self, Reject, Segment, Tcp, Transport};

/// What happens to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The frame goes on to the host's stack.
    Pass,
    /// A rule matched and is enforced.
    Drop(DropReason),
    /// A rule matched in dry run: counted, and passed.
    WouldDrop(DropReason),
    /// Not understood: passed, the host's stack decides.
    Unread(Reject),
}

/// Which kind of rule matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    Deny,
    Class,
    ConnectionLimit,
    RequestLimit,
}

impl DropReason {
    /// The counter of frames dropped for this reason, or of those that would have been.
    #[must_use]
    #[inline(always)]
    pub const fn counter(self, enforced: bool) -> Counter {
        match (self, enforced) {
            (Self::Deny, true) => Counter::DropDeny,
            (Self::Deny, false) => Counter::WouldDropDeny,
            (Self::Class, true) => Counter::DropClass,
            (Self::Class, false) => Counter::WouldDropClass,
            (Self::ConnectionLimit, true) => Counter::DropConnectionLimit,
            (Self::ConnectionLimit, false) => Counter::WouldDropConnectionLimit,
            (Self::RequestLimit, true) => Counter::DropRequestLimit,
            (Self::RequestLimit, false) => Counter::WouldDropRequestLimit,
        }
    }

    /// A number for it in a connection's state.
    #[inline(always)]
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Deny => 0,
            Self::Class => 1,
            Self::ConnectionLimit => 2,
            Self::RequestLimit => 3,
        }
    }

    #[inline(always)]
    pub(crate) const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Class,
            2 => Self::ConnectionLimit,
            3 => Self::RequestLimit,
            _ => Self::Deny,
        }
    }
}

/// The settings and facts that every judgement of one frame shares.
#[derive(Clone, Copy)]
pub(crate) struct Judged {
    pub(crate) enforce: bool,
    pub(crate) allowed: bool,
    pub(crate) seed: u64,
    pub(crate) relay_gap_us: u32,
    pub(crate) relay_gap_rtt_percent: u32,
}

impl Judged {
    /// A match, enforced or not.
    #[inline(always)]
    pub(crate) const fn refuse(&self, reason: DropReason) -> Verdict {
        if self.enforce { Verdict::Drop(reason) } else { Verdict::WouldDrop(reason) }
    }
}

/// Judges one frame and counts it. Allow is asked first and nothing overrides it, then deny, then limits and classes.
#[inline(always)]
pub fn judge<T: Tables>(frame: &T::Frame, tables: &T, now_ns: u64) -> Verdict {
    tables.count(Counter::Frames, 1);
    tables.count(Counter::Bytes, frame.len() as u64);
    let verdict = match wire::parse(frame) {
        Ok(segment) => judge_segment(frame, tables, &segment, now_ns),
        Err(reject) => {
            if let Reject::Protocol(client, _) = reject {
                let _ = account(frame, tables, &client.source(), now_ns);
            }
            Verdict::Unread(reject)
        }
    };
    match verdict {
        Verdict::Pass => {}
        Verdict::Drop(reason) => tables.count(reason.counter(true), 1),
        Verdict::WouldDrop(reason) => tables.count(reason.counter(false), 1),
        Verdict::Unread(reject) => tables.count(reject.counter(), 1),
    }
    verdict
}

#[inline(always)]
fn judge_segment<T: Tables>(frame: &T::Frame, tables: &T, segment: &Segment, now_ns: u64) -> Verdict {
    let Some(settings) = tables.settings() else { return Verdict::Pass };
    let prefix = segment.client.host_prefix();
    let allowed = match tables.allow(&prefix) {
        Some(rule) => {
            tables.add(&mut rule.hits, 1);
            tables.count(Counter::Allowed, 1);
            true
        }
        None => false,
    };
    let judged = Judged {
        enforce: settings.enforce != 0,
        allowed,
        seed: settings.seed,
        relay_gap_us: settings.relay_gap_us,
        relay_gap_rtt_percent: settings.relay_gap_rtt_percent,
    };
    let mut source = account(frame, tables, &segment.client.source(), now_ns);
    if !allowed
        && let Some(rule) = tables.deny(&prefix)
        && rule.expires_ns > now_ns
    {
        tables.add(&mut rule.hits, 1);
        rule.last_hit_ns = now_ns;
        if let Some(source) = source {
            tables.add(&mut source.dropped, 1);
        }
        return judged.refuse(DropReason::Deny);
    }
    let Transport::Tcp(tcp) = &segment.transport else { return Verdict::Pass };
    let Some(source) = source.as_deref_mut() else { return Verdict::Pass };
    if tcp.is_syn() {
        tables.add(&mut source.syns, 1);
    }
    if !tables.watched(tcp.server_port) {
        return Verdict::Pass;
    }
    let verdict = judge_watched(frame, tables, segment, tcp, now_ns, judged, source);
    if matches!(verdict, Verdict::Drop(_) | Verdict::WouldDrop(_)) {
        tables.add(&mut source.dropped, 1);
    }
    verdict
}

#[inline(always)]
fn judge_watched<T: Tables>(
    frame: &T::Frame,
    tables: &T,
    segment: &Segment,
    tcp: &Tcp,
    now_ns: u64,
    judged: Judged,
    source: &mut SourceStats,
) -> Verdict {
    let context = evidence::Context { frame, tables, segment, tcp, now_ns, judged };
    evidence::track(&context, source)
}

/// Counts the frame for its source.
#[inline(always)]
fn account<'a, T: Tables>(
    frame: &T::Frame,
    tables: &'a T,
    source: &crate::address::Address,
    now_ns: u64,
) -> Option<&'a mut SourceStats> {
    let Some(stats) = tables.source(source, now_ns) else {
        tables.count(Counter::LostSources, 1);
        return None;
    };
    tables.add(&mut stats.packets, 1);
    tables.add(&mut stats.bytes, frame.len() as u64);
    stats.last_seen_ns = now_ns;
    Some(stats)
}
