//! The control socket: bodies of requests as the daemon reads them, answers as the command does.

use sensor::cli::render;
use sensor::cli::style::Paint;
use sensor::control::protocol::{Request, Versioned};
use sensor::control::{subject, validate};

pub(crate) fn run(input: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(input)
        && let Ok(sound) = validate::request(request)
    {
        assert_eq!(validate::request(sound.clone()).as_ref(), Ok(&sound), "what is canonical stays as it is");
        let text = serde_json::to_vec(&sound).expect("requests can be written");
        assert_eq!(serde_json::from_slice::<Request>(&text).ok(), Some(sound), "and can be read again");
    }
    if let Ok(answer) = serde_json::from_slice::<Versioned>(input) {
        assert!(render::answer(&answer.answer, Paint { coloured: false }).ends_with('\n'));
    }
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = subject::subject(text);
        if let Ok(prefix) = subject::prefix(text) {
            assert_eq!(subject::prefix(&prefix.to_string()), Ok(prefix), "a prefix reads as it is written");
        }
    }
}
