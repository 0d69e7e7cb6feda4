//! Frames from text.
