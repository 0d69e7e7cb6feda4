//! The client's byte stream, however it is cut: HTTP/1 requests are counted exactly, TLS requests by their records, and
//! a hello's fingerprint is the right one or none.

mod streams;
