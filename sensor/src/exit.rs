//! Exit codes and the failures that lead to them. One row per code drives `--help` and the reference page.

use std::fmt;

macro_rules! codes {
    ($($name:ident = $number:literal, $meaning:literal;)*) => {
        /// What the process ends with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $(#[doc = $meaning] $name = $number,)* }

        impl Code {
            /// Every code with its meaning, in numeric order.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$name, $meaning),)*];
        }
    };
}

codes! {
    Done = 0, "done";
    Runtime = 1, "failed while running, or the daemon refused";
    Usage = 2, "wrong usage: unknown flag, malformed prefix, tunable out of range";
    Config = 3, "configuration invalid";
    Capability = 4, "missing capability, kernel feature or interface";
    Unreachable = 5, "daemon not reachable on its socket";
    Busy = 6, "interface busy with another program";
}

impl Code {
    /// The number given to the shell.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// Why a command ended without success, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: Code,
    /// What went wrong: one sentence, no full stop at its end.
    pub error: String,
    /// What to do next; may be empty.
    pub hint: String,
}

impl Failure {
    /// A failure with its advice.
    #[must_use]
    pub fn new(code: Code, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, error: error.into(), hint: hint.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "\n  {}", self.hint) }
    }
}

impl std::error::Error for Failure {}
