//! Captures: read frame by frame, and through the packet path.

use sensor::capture_file::{Frames, Options, replay_frames};

use super::{PORT, SIZES};

pub(crate) fn run(input: &[u8]) {
    let Ok(frames) = Frames::new(input) else { return };
    let (mut count, mut latest_ns) = (0_u64, 0);
    for frame in frames {
        match frame {
            Ok(frame) => {
                assert!(frame.at_ns >= latest_ns, "time runs backwards");
                assert!(frame.length >= frame.bytes.len());
                latest_ns = frame.at_ns;
                count += 1;
            }
            Err(broken) => assert!(!broken.to_string().is_empty() && !broken.hint().is_empty()),
        }
    }
    let mut again = Frames::new(input).expect("it was read before");
    let options = Options { ports: vec![PORT, 443], sizes: Some(SIZES), ..Options::default() };
    let mut found = 0_u64;
    let summary = replay_frames(&mut again, &options, &mut |_| found += 1);
    assert_eq!(summary.frames, count, "both readings see the same frames");
    assert!(found >= summary.connections && summary.class_conflicts == 0, "{summary:?}");
}
