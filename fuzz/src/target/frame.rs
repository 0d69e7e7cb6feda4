//! Frames in the packet path: each is two bytes of length, one of time, one that says how it was cut, and its bytes.

use sensor_common::counter::Counter;

use super::{Host, pieces};

pub(crate) fn run(input: &[u8]) {
    let mut host = Host::new();
    let mut frames = 0_u64;
    for piece in pieces(input) {
        let [time, cut, frame @ ..] = piece else { continue };
        // From no time at all to minutes.
        let after_ns = (u64::from(*time) + 1) << (time >> 3);
        host.run(after_ns, frame, frame.len() + usize::from(*cut & 0x0f) * 256);
        frames += 1;
        let _ = host.memory.latest();
    }
    let counters = host.memory.counters.get_mut();
    assert_eq!(counters.get(&Counter::Frames).copied().unwrap_or(0), frames, "every frame is counted");
    let events = counters.get(&Counter::Events).copied().unwrap_or(0);
    assert_eq!(events, host.memory.events.get_mut().len() as u64, "every record is counted");
}
