//! HTTP/1 over plaintext.

use sensor_common::event::{flag, protocol};

use super::{cuts, kernel, on_host, outcome, plain};

/// How a stream ends for the sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is followed on.
    Followed,
    /// It contradicts HTTP/1.
    Malformed,
    /// It never was HTTP/1.
    Other,
}
use End::{Followed, Malformed, Other};

/// Description, stream, requests in it, and how it ends.
const ROWS: &[(&str, &str, u32, End)] = &[
    ("one request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1, Followed),
    ("HTTP/1.0 without headers", "GET / HTTP/1.0\r\n\r\n", 1, Followed),
    ("lines that end in a bare line feed", "GET / HTTP/1.1\nHost: a\n\n", 1, Followed),
    ("unfinished head", "GET / HTTP/1.1\r\nHost: a\r\n", 0, Followed),
    ("keep-alive", "GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nHEAD /3 HTTP/1.1\r\n\r\n", 3, Followed),
    ("empty lines in front of a request", "\r\n\r\nGET / HTTP/1.1\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", 2, Followed),
    ("a method with a dash", "M-SEARCH * HTTP/1.1\r\n\r\n", 1, Followed),
    ("a target with spaces", "GET /a b c HTTP/1.1\r\n\r\n", 1, Followed),
    ("body by length", "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n", 2, Followed),
    ("lower-case name", "POST / HTTP/1.1\r\ncontent-length:5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n", 2, Followed),
    ("upper-case name", "POST / HTTP/1.1\r\nCONTENT-LENGTH:\t5 \r\n\r\nhelloGET / HTTP/1.1\r\n\r\n", 2, Followed),
    ("length 0", "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n", 2, Followed),
    ("leading zeros", "POST / HTTP/1.1\r\nContent-Length: 0005\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n", 2, Followed),
    (
        "a request line inside a body",
        "POST / HTTP/1.1\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        2,
        Followed,
    ),
    (
        "100-continue",
        "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n",
        2,
        Followed,
    ),
    (
        "names that begin like a known one",
        "POST / HTTP/1.1\r\nContent-Length-X: 9\r\nContent-Lengt: 9\r\nTransfer-Encodin: chunked\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        2,
        Followed,
    ),
    (
        "chunked",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        2,
        Followed,
    ),
    (
        "chunks with extensions, letters and trailers",
        "POST / HTTP/1.1\r\ntransfer-encoding: gzip, Chunked\r\n\r\n0A;x=\"y\"\r\n0123456789\r\n1\r\n!\r\n000\r\nTrail: GET\r\nContent-Length: 7\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        2,
        Followed,
    ),
    (
        "request lines inside chunks",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n12\r\nGET / HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
        1,
        Followed,
    ),
    (
        "chunked overrides a length",
        "POST / HTTP/1.1\r\nContent-Length: 999\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        2,
        Followed,
    ),
    (
        "encodings over two lines",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        2,
        Followed,
    ),
    ("folded line", "GET / HTTP/1.1\r\nX: a\r\n b\r\n\tc: d\r\n\r\nGET / HTTP/1.1\r\n\r\n", 2, Followed),
    ("name of one letter, empty value", "GET / HTTP/1.1\r\nc:\r\nt:\r\n\r\n", 1, Followed),
    ("longest length", "POST / HTTP/1.1\r\nContent-Length: 4294967289\r\n\r\nx", 1, Followed),
    // --- contradictions
    ("length beyond all measure", "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 0, Malformed),
    ("two lengths", "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 0, Malformed),
    ("two lengths in one line", "POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\nhello", 0, Malformed),
    ("length in two parts", "POST / HTTP/1.1\r\nContent-Length: 1 0\r\n\r\nhello", 0, Malformed),
    ("negative length", "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 0, Malformed),
    ("signed length", "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello", 0, Malformed),
    ("no length", "POST / HTTP/1.1\r\nContent-Length: \r\n\r\n", 0, Malformed),
    ("folded length", "POST / HTTP/1.1\r\nContent-Length: 1\r\n 0\r\n\r\nhello", 0, Malformed),
    ("folded encoding", "POST / HTTP/1.1\r\nTransfer-Encoding: x\r\n chunked\r\n\r\n", 0, Malformed),
    ("space behind a name", "POST / HTTP/1.1\r\nContent-Length : 5\r\n\r\nhello", 0, Malformed),
    ("encoding that is not chunked", "POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n", 0, Malformed),
    ("encoding that ends like chunked", "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n", 0, Malformed),
    ("chunked is not last", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 0, Malformed),
    ("bare carriage return in a name", "POST / HTTP/1.1\r\nContent\r-Length: 5\r\n\r\n", 0, Malformed),
    ("bare carriage return in a value", "GET / HTTP/1.1\r\nX: a\rb\r\n\r\n", 0, Malformed),
    ("bare carriage return in the request line", "GET /\r HTTP/1.1\r\n\r\n", 0, Malformed),
    ("header without a colon", "GET / HTTP/1.1\r\nHost\r\n\r\n", 0, Malformed),
    ("no version", "GET /\r\n\r\n", 0, Malformed),
    ("HTTP/2 version", "GET / HTTP/2.0\r\n\r\n", 0, Malformed),
    ("HTTP/2 preface behind a request", "GET / HTTP/1.1\r\n\r\nPRI /x HTTP/2.0\r\n\r\nSM\r\n\r\n", 1, Malformed),
    ("a method that is none", "GETTING-SOMETHING-VERY-LONG-AS-METHOD / HTTP/1.1\r\n\r\n", 0, Malformed),
    ("lower-case second request", "GET / HTTP/1.1\r\n\r\nget / HTTP/1.1\r\n\r\n", 1, Malformed),
    ("a space before the second request", "GET / HTTP/1.1\r\n\r\n GET / HTTP/1.1\r\n\r\n", 1, Malformed),
    ("chunk size that is none", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 1, Malformed),
    ("no chunk size", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", 1, Malformed),
    ("chunk beyond all measure", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n123456789\r\n", 1, Malformed),
    ("chunk without its end", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", 1, Malformed),
    ("an upgrade to something else", "GET / HTTP/1.1\r\nUpgrade: something\r\n\r\n\u{1}\u{2}\u{3}", 1, Malformed),
    // --- something else altogether
    ("lower-case method", "get / HTTP/1.1\r\n\r\n", 0, Other),
    ("ssh", "\u{0}\u{0}SSH", 0, Other),
];

#[test]
fn requests_are_counted_however_the_stream_is_cut() {
    let mut random = fastrand::Rng::with_seed(7);
    for (name, stream, requests, end) in ROWS {
        let stream = stream.as_bytes();
        let whole = on_host(&plain().send(stream));
        let check = |seen: &sensor_common::connection::Connection, how: &str| {
            assert_eq!(seen.requests, *requests, "{name}, {how}");
            assert_eq!(seen.fingerprint, whole.fingerprint, "{name}, {how}: fingerprint");
            let malformed = seen.flags & flag::MALFORMED != 0;
            let expected = match end {
                Followed => (protocol::HTTP1, false),
                Malformed => (protocol::OTHER, true),
                Other => (protocol::OTHER, false),
            };
            assert_eq!((seen.protocol, malformed), expected, "{name}, {how}");
        };
        check(&whole, "in one segment");
        for cut in 1..stream.len() {
            check(&on_host(&plain().send_cut(stream, &[cut])), &format!("cut at {cut}"));
        }
        let all: Vec<usize> = (1..stream.len()).collect();
        check(&on_host(&plain().send_cut(stream, &all)), "byte by byte");
        for _ in 0..20 {
            let cuts = cuts(&mut random, stream.len(), 4);
            check(&on_host(&plain().send_cut(stream, &cuts)), &format!("cut at {cuts:?}"));
        }
    }
}

#[test]
fn the_kernel_counts_the_same() {
    let Some(mut kernel) = kernel() else { return };
    let mut random = fastrand::Rng::with_seed(8);
    for (name, stream, requests, _) in ROWS {
        for round in 0..4 {
            let cuts = if round == 0 { Vec::new() } else { cuts(&mut random, stream.len(), 4) };
            let conversation = plain().send_cut(stream.as_bytes(), &cuts);
            let (host, kernel) = (on_host(&conversation), outcome(&mut kernel, &conversation));
            assert_eq!(kernel.requests, *requests, "{name} in the kernel, cut at {cuts:?}");
            assert_eq!(
                (host.fingerprint, host.flags, host.http, host.bytes),
                (kernel.fingerprint, kernel.flags, kernel.http, kernel.bytes),
                "{name}, cut at {cuts:?}"
            );
        }
    }
}

#[test]
fn bodies_are_passed_over_whatever_they_hold() {
    let body = vec![b'G'; 70_000];
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    let stream = [head.as_bytes(), &body, b"GET / HTTP/1.1\r\n\r\n"].concat();
    for size in [1_000, 1_448, 8_960, 16_384, 20_000, 32_768] {
        let cuts: Vec<usize> = (size..stream.len()).step_by(size).collect();
        let seen = on_host(&plain().send_cut(&stream, &cuts));
        assert_eq!((seen.requests, seen.bytes), (2, stream.len() as u64), "segments of {size}");
    }
}

#[test]
fn a_long_head_is_given_up() {
    for (bytes, requests) in [(60_000, 1), (70_000, 0)] {
        let stream = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(bytes));
        let cuts: Vec<usize> = (1_448..stream.len()).step_by(1_448).collect();
        let seen = on_host(&plain().send_cut(stream.as_bytes(), &cuts));
        assert_eq!(seen.requests, requests, "{bytes} bytes");
        assert_eq!(seen.flags & flag::MALFORMED != 0, requests == 0, "{bytes} bytes");
    }
}

#[test]
fn what_is_missing_ends_the_count() {
    let one = b"GET / HTTP/1.1\r\n\r\n";
    let at = u32::try_from(one.len()).expect("short");
    let lost = plain().send(one).segment("PA", at * 2, one);
    let seen = on_host(&lost);
    assert_eq!((seen.requests, seen.flags & flag::STREAM_GAP != 0), (1, true), "a hole in the stream");
    let again = plain().send(one).segment("PA", 0, one).send(one);
    assert_eq!(on_host(&again).requests, 2, "a retransmission counts once");
    let overlap = plain().send(one).segment("PA", at - 5, &[&one[at as usize - 5..], &one[..]].concat());
    assert_eq!(on_host(&overlap).requests, 2, "an overlap counts once");
}

#[test]
fn the_fingerprint_is_the_shape_of_the_first_head() {
    let print = |stream: &str| on_host(&plain().send(stream.as_bytes())).fingerprint;
    let base = print("GET /a HTTP/1.1\r\nHost: a\r\nAccept: b\r\n\r\n");
    assert_ne!(base, 0);
    assert_eq!(base, print("GET /other?x HTTP/1.1\r\nHost: zzz\r\nAccept: text\r\n\r\n"), "no value counts");
    assert_eq!(base, print("GET /a HTTP/1.1\r\nhost: a\r\naccept: b\r\n\r\nPOST / HTTP/1.0\r\n\r\n"), "the first head");
    for other in [
        "GET /a HTTP/1.1\r\nAccept: b\r\nHost: a\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a HTTP/1.0\r\nHost: a\r\nAccept: b\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: a\r\nAccept: b\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\nAccept: b\r\nX: y\r\n\r\n",
    ] {
        assert_ne!(base, print(other), "{other:?}");
    }
}
