//! Rows of the store: whatever is in them, the engine goes on, and what it saves then it can read again.

use sensor::engine::Engine;
use sensor::engine::record::Snapshot;
use sensor::engine::state::State;
use sensor::engine::tier::Tiers;
use sensor::engine::time::{Span, Time};
use sensor::tunable::Tunables;

pub(crate) fn run(input: &[u8]) {
    let Ok(state) = serde_json::from_slice::<State>(input) else { return };
    let mut engine = Engine::keyed(&Tunables::default(), Tiers::default(), 7);
    let mut now = Time(1_800_000_000_000_000_000);
    engine.restore(state, now);
    for _ in 0..3 {
        now = now + Span::seconds(61);
        let _ = engine.step(now, &Snapshot::default(), &Default::default());
        let _ = engine.campaign_answers(true);
    }
    let saved = engine.save();
    let text = serde_json::to_vec(&saved).expect("it can be written");
    let read: State = serde_json::from_slice(&text).expect("it can be read again");
    assert_eq!(read, saved);
}
