//! Evidence on connections, for people: one connection a line, `-` for what was not measured.

use super::list::{table, text};
use super::number::{bytes, grouped};
use crate::cli::style::{Paint, Tone};
use crate::evidence::Evidence;

/// Flags that every sound connection has, or that other columns show.
const QUIET: [&str; 7] = ["established", "gap_sample", "gap_flagged", "reported", "closed", "timestamps", "requested"];

pub(super) fn render(all: &[Evidence], paint: Paint) -> String {
    if all.is_empty() {
        return "no connection\n".to_owned();
    }
    let header =
        ["CLIENT", "SERVICE", "PROTOCOL", "RTT", "HELLO GAP", "GAP", "PATH", "REQUESTS", "BYTES", "JA4", "REMARKS"];
    let mut table = table(&header, 3..6, paint);
    for one in all {
        let remarks: Vec<&str> = one.flags.iter().map(String::as_str).filter(|name| !QUIET.contains(name)).collect();
        let path = match one.path.as_str() {
            "relayed" => paint.text(Tone::Warning, "relayed"),
            path => path.to_owned(),
        };
        table.add_row([
            place(&one.client, one.client_port),
            place(&one.server, one.service),
            one.protocol.clone(),
            ms(one.rtt_us),
            ms(one.hello_gap_us),
            ms(one.flight_gap_us),
            path,
            one.requests.map_or("-".to_owned(), |count| grouped(count.into())),
            one.bytes.map_or("-".to_owned(), |count| bytes(count as f64)),
            one.ja4.clone().or_else(|| one.class.clone()).unwrap_or("-".to_owned()),
            if remarks.is_empty() { "-".to_owned() } else { remarks.join(" ") },
        ]);
    }
    text(&table)
}

/// Address and port; an IPv6 address in brackets.
fn place(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn ms(us: Option<u32>) -> String {
    us.map_or("-".to_owned(), |us| format!("{:.1} ms", f64::from(us) / 1_000.0))
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::cli::style::Paint;
    use crate::evidence::Evidence;

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let one = Evidence {
            client: "2001:db8::1".to_owned(),
            client_port: 40_000,
            server: "192.0.2.1".to_owned(),
            service: 443,
            protocol: "tls".to_owned(),
            path: "unknown".to_owned(),
            rtt_us: Some(12_340),
            flags: vec!["established".to_owned(), "no_pure_ack".to_owned()],
            ..Evidence::default()
        };
        let text = render(&[one], Paint { coloured: false });
        let line = text.lines().nth(1).expect("a row");
        assert!(line.starts_with("[2001:db8::1]:40000"), "{line}");
        assert!(line.contains("12.3 ms") && line.contains("no_pure_ack") && !line.contains("established"), "{line}");
    }
}
