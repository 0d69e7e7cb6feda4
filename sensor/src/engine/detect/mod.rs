//! Detectors: each watches one thing and says what it found, with the evidence. What is done about it is decided
//! elsewhere.

pub mod lockstep;
pub mod novel;
pub mod range;
pub mod rotation;
pub mod source;

/// A detector: settings in `self`, memory in the state it is given.
pub trait Detector {
    /// Its name in output.
    const NAME: &'static str;
    /// What it remembers about its subject.
    type State;
    /// What it is shown in one tick.
    type Sample<'a>;
    /// Its claim, with evidence.
    type Finding;

    /// Looks at one tick of one subject.
    fn judge(&self, state: &mut Self::State, sample: Self::Sample<'_>) -> Option<Self::Finding>;
}
