//! ClientHello to JA4, and to the kernel's class.

use sensor::fingerprint::{HELLO_BYTES, Ja4, Transport, find, hello};

use super::stream::outcome;

pub(crate) fn run(input: &[u8]) {
    let (first, anywhere) = (hello(input), find(input, Transport::Tls));
    let segments: Vec<&[u8]> = input.chunks(1_400).collect();
    let class = outcome(&segments, false).map_or(0, |connection| connection.fingerprint);
    // The kernel's reader is the stricter one: what has a class has a name.
    assert!(class == 0 || first.is_ok(), "class {class:x}, and {first:?}");
    if let Ok(first) = &first {
        assert_eq!(anywhere.as_ref(), Ok(first), "the one at the beginning is the first one");
        let more = [input, &[0; 9]].concat();
        assert_eq!(hello(&more).as_ref(), Ok(first), "what follows changes nothing");
    }
    for found in [first, anywhere].into_iter().flatten() {
        assert!(found.ciphers.len() <= HELLO_BYTES && found.extensions.len() <= HELLO_BYTES);
        let ja4 = Ja4::of(&found);
        let text = ja4.to_string();
        assert!(text.len() == 36 && text.is_ascii(), "{text}");
        assert_eq!(text.matches('_').count(), 2, "{text}");
        let normalised = ja4.normalised();
        assert_eq!(normalised.normalised(), normalised);
        assert!(ja4.raw().starts_with(&text[..10]), "{}", ja4.raw());
    }
}
