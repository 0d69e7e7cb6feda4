//! The packet path: one frame in, one verdict out. Constant work; time is an argument.

use crate::counter::Counter;
use crate::evidence;
use crate::listing::{self, Listing};
use crate::settings::Settings;
use crate::tables::{Clock, Frame, Tables};
use crate::traffic;
use crate::wire::{self, Reject, Segment, TCP};

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

/// Judges one frame and counts it. Allow is asked first and nothing overrides it, then deny, then limits and classes.
///
/// What most frames need stands here and in what is inlined: on a CPU with the usual mitigations each call that
/// returns costs as much as a table look-up.
#[inline(always)]
pub fn judge<T: Tables>(frame: &T::Frame, tables: &T, clock: &impl Clock) -> Verdict {
    let (Some(segment), Some(settings)) = (tables.segment(), tables.settings()) else { return Verdict::Pass };
    segment.now_ns = clock.tick_ns();
    segment.frame_bytes = frame.first_len() as u32;
    segment.flags = 0;
    segment.allowed = 0;
    let verdict = match wire::parse(frame, segment) {
        Ok(()) => judge_segment(frame, tables, clock, settings, segment),
        Err(reject) => {
            if reject == Reject::Protocol {
                traffic::approach(tables, settings, segment);
                let _ = traffic::account(tables, segment);
            }
            Verdict::Unread(reject)
        }
    };
    tables.count(Counter::Frames, 1);
    tables.count(Counter::Bytes, u64::from(segment.frame_bytes));
    match verdict {
        Verdict::Pass => {}
        Verdict::Drop(reason) => tables.count(reason.counter(true), 1),
        Verdict::WouldDrop(reason) => tables.count(reason.counter(false), 1),
        Verdict::Unread(reject) => tables.count(reject.counter(), 1),
    }
    verdict
}

#[inline(always)]
fn judge_segment<T: Tables>(
    frame: &T::Frame,
    tables: &T,
    clock: &impl Clock,
    settings: &Settings,
    segment: &mut Segment,
) -> Verdict {
    // All that is far away is begun to be fetched before anything of it is waited for.
    traffic::approach(tables, settings, segment);
    let watched = segment.protocol == TCP && tables.watched(segment.tuple.server_port());
    if watched {
        evidence::approach(tables, settings, segment);
    }
    let marks = listing::marks(tables, settings, segment);
    let bucket = traffic::account(tables, segment);
    let refused = match listing::look_up(tables, settings, segment, marks, bucket) {
        Listing::Denied => Some(DropReason::Deny),
        listing @ (Listing::Allowed | Listing::Nothing) => {
            if listing == Listing::Allowed {
                tables.count(Counter::Allowed, 1);
                segment.allowed = 1;
            }
            if !watched {
                return Verdict::Pass;
            }
            evidence::track(frame, tables, clock, settings, segment)
        }
    };
    let Some(reason) = refused else { return Verdict::Pass };
    traffic::count_dropped(tables, segment);
    if settings.enforce != 0 { Verdict::Drop(reason) } else { Verdict::WouldDrop(reason) }
}
