//! The plots of `docs/detection.md`, as SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::{
    ChartBuilder, Color, IntoDrawingArea, IntoLogRange, LineSeries, PathElement, RGBColor, SVGBackend, WHITE,
};

use crate::evaluate::Results;
use crate::run::Outcomes;
use crate::stat::{Stat, Worst};
use crate::suite::{SHARES, hydra_name};

const SIZE: (u32, u32) = (720, 400);

const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 90, 160), RGBColor(200, 60, 30), RGBColor(60, 140, 60), RGBColor(130, 130, 130)];

/// A line: its name and its points.
type Line = (&'static str, Vec<(f64, f64)>);

fn series(results: &Results, value: impl Fn(&Outcomes) -> Option<f64>) -> Vec<(f64, Stat)> {
    let of = |percent: f64| {
        let name = hydra_name(percent);
        let values: Vec<_> = results.outcomes.iter().filter(|o| o.scenario == name).map(&value).collect();
        (percent, Stat::of(values, Worst::Highest))
    };
    SHARES.into_iter().map(of).collect()
}

/// Time to the alarm by share of the load.
///
/// # Errors
/// If the file cannot be written.
pub fn alarm(results: &Results, path: &Path) -> Result<()> {
    let found = series(results, Outcomes::alarm_min);
    let points = |pick: fn(&Stat) -> Option<f64>| {
        found.iter().filter_map(|(percent, stat)| Some((*percent, pick(stat)?.max(0.05)))).collect()
    };
    let targets = vec![(0.25, 300.0), (1.0, 60.0), (5.0, 10.0)];
    let lines = vec![("median", points(|s| s.median)), ("worst", points(|s| s.worst)), ("target", targets)];
    draw(path, "Minutes to the alarm, by share of the load (percent)", (0.05, 1_000.0), true, &lines)
}

/// What is served after the first rule by share of the load.
///
/// # Errors
/// If the file cannot be written.
pub fn served(results: &Results, path: &Path) -> Result<()> {
    let points = |value: fn(&Outcomes) -> Option<f64>| {
        let found = series(results, value);
        found.into_iter().filter_map(|(percent, stat)| Some((percent, stat.median? * 100.0))).collect()
    };
    let listed = |o: &Outcomes| {
        let (_, list) = o.rivals.iter().find(|(name, _)| name.starts_with("block list"))?;
        (list.attack_after > 0).then(|| 1.0 - list.attack_refused as f64 / list.attack_after as f64)
    };
    let lines = vec![
        ("as shipped", points(|o| o.account.served_after_rule())),
        ("block list of addresses", points(listed)),
        ("with the modelled quota", points(|o| o.account.served_after_rule_quota())),
    ];
    draw(
        path,
        "Percent of the attack served after the rule, by share of the load (percent)",
        (0.0, 100.0),
        false,
        &lines,
    )
}

fn draw(path: &Path, caption: &str, (low, high): (f64, f64), is_log: bool, lines: &[Line]) -> Result<()> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    let failed = |error: &dyn std::fmt::Display| anyhow!("{} cannot be written: {error}", path.display());
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    let mut builder = ChartBuilder::on(&root);
    builder.caption(caption, ("sans-serif", 16)).margin(12).x_label_area_size(32).y_label_area_size(48);
    // The two kinds of axes are of different types, so the drawing is the same twice.
    macro_rules! plot {
        ($range:expr) => {{
            let mut chart =
                builder.build_cartesian_2d((0.08..60.0).log_scale(), $range).map_err(|error| failed(&error))?;
            let mut mesh = chart.configure_mesh();
            mesh.x_label_formatter(&|x| format!("{x}")).y_label_formatter(&|y| format!("{y}")).light_line_style(WHITE);
            mesh.draw().map_err(|error| failed(&error))?;
            for ((name, points), colour) in lines.iter().zip(COLOURS) {
                let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
                let drawn = chart.draw_series(line).map_err(|error| failed(&error))?;
                drawn
                    .label(*name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
            }
            let mut legend = chart.configure_series_labels();
            legend.background_style(WHITE).border_style(COLOURS[3]).draw().map_err(|error| failed(&error))?;
        }};
    }
    if is_log {
        plot!((low..high).log_scale());
    } else {
        plot!(low..high);
    }
    root.present().map_err(|error| failed(&error))
}
