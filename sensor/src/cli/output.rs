//! Standard output, once: a reader that went away (`| head`) is no failure.

use std::io::{self, Write};

use crate::exit::{Code, Failure};

/// Writes text to standard output.
///
/// # Errors
/// If it cannot be written for any reason but a closed pipe.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Code::Runtime, format!("standard output cannot be written: {error}"), ""))
        }
        _ => Ok(()),
    }
}
