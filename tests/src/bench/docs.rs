//! Regenerates the parts of `docs/performance.md` that are figures, and the plots beside it. The prose around them
//! stays: a part lies between `<!-- bench:begin NAME -->` and `<!-- bench:end -->`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::case::Way;
use super::figure::{Row, median};
use super::plot::Chart;
use super::report::{HEADS, Report, SERVED_HEADS, daemon_line, shown};
use super::target::TARGETS;

/// Rewrites every part of the page, and the plots in the folder `performance` beside it.
///
/// # Errors
/// When the page cannot be read or written, or lacks a part.
pub fn write(page: &Path, report: &Report) -> Result<()> {
    let mut text = fs::read_to_string(page).with_context(|| format!("read {}", page.display()))?;
    let parts = [
        ("machine", machine(report)),
        ("targets", targets(report)),
        ("cases", cases(report)),
        ("daemon", daemon(report)),
        ("served", table(&SERVED_HEADS, report.served_lines())),
    ];
    for (name, part) in parts {
        text = replaced(&text, name, &part).with_context(|| format!("{} has no part `{name}`", page.display()))?;
    }
    fs::write(page, text).with_context(|| format!("write {}", page.display()))?;
    let folder = page.with_extension("");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    for (name, chart) in charts(report) {
        let file = folder.join(name);
        fs::write(&file, chart.svg()).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

/// The text with what lies between a part's marks replaced.
fn replaced(text: &str, name: &str, part: &str) -> Result<String> {
    let begin = format!("<!-- bench:begin {name} -->\n");
    let Some((before, rest)) = text.split_once(&begin) else { bail!("`{}` is missing", begin.trim()) };
    let end = "<!-- bench:end -->";
    let Some((_, after)) = rest.split_once(end) else { bail!("`{end}` is missing after `{}`", begin.trim()) };
    Ok(format!("{before}{begin}{}\n{end}{after}", part.trim_end()))
}

fn table<const N: usize>(heads: &[&str; N], lines: impl IntoIterator<Item = [String; N]>) -> String {
    let mut text = format!("| {} |\n|{}\n", heads.join(" | "), "---|".repeat(N));
    for line in lines {
        let _ = writeln!(text, "| {} |", line.join(" | "));
    }
    text
}

fn machine(report: &Report) -> String {
    let machine = &report.machine;
    let load = median(&machine.load).unwrap_or_default();
    let memory: Vec<String> =
        machine.memory_ns.iter().map(|(megabytes, ns)| format!("{ns:.0} ns ({megabytes} MB)")).collect();
    format!(
        "Kernel {}, {} ({} CPUs), commit `{}`; {} repetitions, {:.1} % of the time stolen by the host, load {load:.1}.\n\
         Against speculation: {}.\nA load that waits for the one before takes {} when spread over that much memory.\n\
         Peers: {}.\n",
        machine.kernel,
        machine.cpu,
        machine.cpus,
        machine.commit,
        machine.repetitions,
        machine.steal_ratio * 1e2,
        machine.mitigations,
        memory.join(", "),
        machine.peers.join("; ")
    )
}

fn targets(report: &Report) -> String {
    let lines = TARGETS.iter().map(|target| {
        let verdict = &report.targets[target.key];
        let met = match verdict.met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "not measured",
        };
        let range = verdict.range.map(|(low, high)| format!("{} to {}", shown(Some(low)), shown(Some(high))));
        [
            format!("`{}`", target.key),
            shown(verdict.value),
            range.unwrap_or_default(),
            verdict.target.to_string(),
            met.to_owned(),
            target.meaning.to_owned(),
        ]
    });
    table(&["ratio", "value", "of one repetition", "target", "", "what it says"], lines)
}

fn cases(report: &Report) -> String {
    let lines = report.lines().into_iter().map(|line| {
        [
            format!("`{}`", line.case),
            line.subject.clone(),
            line.run(),
            line.over(),
            line.live(),
            line.two(),
            line.spread(),
        ]
    });
    table(&HEADS, lines)
}

fn daemon(report: &Report) -> String {
    let Some(daemon) = &report.daemon else { return "Not measured.\n".to_owned() };
    let mut text = format!("{}.\n\n", daemon_line(daemon));
    let lines =
        daemon.map_bytes.iter().map(|(name, bytes)| [format!("`{name}`"), format!("{:.2}", *bytes as f64 / 1e6)]);
    text.push_str(&table(&["map", "MB"], lines));
    text
}

/// Every plot with the name of its file.
fn charts(report: &Report) -> Vec<(&'static str, Chart<'static>)> {
    let subjects = ["floor", "xdp-filter port", "sensor", "lru", "nft drop", "nft meter"];
    let flood = [("flood_1", "1 source"), ("flood_64k", "65,536"), ("flood_1m", "1 M"), ("flood_1g", "each frame new")];
    let rules = ["none", "1000 addresses", "100000 addresses", "100000 /24"];
    let find = |case: &str, subject: &str, rules: Option<&str>, way: Way| -> Option<&Row> {
        report.rows.iter().find(|row| {
            let same = row.case == case && row.subject == subject && row.parameters.way == way.name();
            same && (rules.is_none() || row.parameters.rules == rules)
        })
    };
    let series = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let live = |way: Way| {
        move |(case, name): &(&str, &str)| {
            let bars = subjects.iter().map(|subject| find(case, subject, None, way).and_then(|row| row.mpps));
            ((*name).to_owned(), bars.collect::<Vec<_>>())
        }
    };
    let rule_groups = [("unlisted_64k", "65,536 sources"), ("unlisted_1m", "1 M sources")].map(|(case, name)| {
        let bars =
            rules.iter().map(|rules| find(case, "sensor", Some(rules), Way::Run).and_then(|row| row.over_floor_ns));
        (name.to_owned(), bars.collect())
    });
    let two = [flood[0], flood[2]];
    vec![
        (
            "flood.svg",
            Chart {
                title: "SYN flood by number of sources, one core",
                unit: "Mpps",
                series: series(&subjects),
                groups: flood.iter().map(live(Way::Live)).collect(),
            },
        ),
        (
            "cores.svg",
            Chart {
                title: "SYN flood, two cores",
                unit: "Mpps",
                series: series(&subjects),
                groups: two.iter().map(live(Way::LiveTwo)).collect(),
            },
        ),
        (
            "rules.svg",
            Chart {
                title: "Unlisted sources by number of deny rules",
                unit: "ns above a bare drop, test_run",
                series: series(&rules),
                groups: rule_groups.to_vec(),
            },
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn only_the_part_is_replaced() {
        let page = "prose\n<!-- bench:begin a -->\nold\n<!-- bench:end -->\nmore\n<!-- bench:begin b -->\n<!-- bench:end -->\n";
        let new = replaced(page, "a", "new\n").expect("it has that part");
        assert_eq!(new, page.replace("old", "new"));
        assert_eq!(replaced(&new, "a", "new").expect("as before"), new);
        assert!(replaced(page, "c", "new").is_err());
    }
}
