//! Bar charts as SVG: groups of bars on one scale. Reads in light and dark themes alike.

use std::fmt::Write as _;

/// One chart.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// What the scale counts.
    pub(super) unit: &'a str,
    /// Names of the bars within a group.
    pub(super) series: Vec<String>,
    /// Each group with one bar for each series; none where there is no figure.
    pub(super) groups: Vec<(String, Vec<Option<f64>>)>,
}

const WIDTH: f64 = 860.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 64.0;
const BAR: f64 = 14.0;
const GAP: f64 = 14.0;
/// Colours that the colour-blind tell apart (Okabe and Ito).
const COLOURS: [&str; 8] = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#8c8c8c", "#b8a800"];

impl Chart<'_> {
    /// The picture.
    pub(super) fn svg(&self) -> String {
        let most = self.groups.iter().flat_map(|(_, bars)| bars).flatten().copied().fold(0.0, f64::max).max(1e-9);
        let shown: usize = self.groups.iter().map(|(_, bars)| bars.iter().flatten().count()).sum();
        let height = TOP + shown as f64 * BAR + self.groups.len() as f64 * GAP + 12.0;
        let mut svg = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <text x=\"12\" y=\"20\" font-size=\"15\" font-weight=\"bold\">{} ({})</text>\n",
            escaped(self.title),
            escaped(self.unit)
        );
        self.legend(&mut svg);
        let mut y = TOP;
        for (name, bars) in &self.groups {
            let own = bars.iter().flatten().count() as f64;
            let middle = y + own * BAR / 2.0 + 4.0;
            let _ =
                writeln!(svg, "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>", LEFT - 8.0, escaped(name));
            for (series, figure) in bars.iter().enumerate() {
                let Some(figure) = figure else { continue };
                let width = (figure / most * (WIDTH - LEFT - RIGHT)).max(1.0);
                let _ = writeln!(
                    svg,
                    "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"{}\"/>\
                     <text x=\"{:.1}\" y=\"{}\">{}</text>",
                    BAR - 2.0,
                    COLOURS[series % COLOURS.len()],
                    LEFT + width + 4.0,
                    y + BAR - 4.0,
                    number(*figure)
                );
                y += BAR;
            }
            y += GAP;
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn legend(&self, svg: &mut String) {
        let mut x = 12.0;
        for (index, name) in self.series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"34\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"43\">{}</text>",
                x + 14.0,
                escaped(name)
            );
            x += 30.0 + 6.2 * name.chars().count() as f64;
        }
    }
}

fn number(figure: f64) -> String {
    if figure >= 100.0 { format!("{figure:.0}") } else { format!("{figure:.2}") }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::Chart;

    #[test]
    fn every_figure_has_a_bar() {
        let groups = vec![("1 & 2".to_owned(), vec![Some(1.0), None]), ("3".to_owned(), vec![Some(4.0), Some(2.0)])];
        let series = vec!["a".to_owned(), "b".to_owned()];
        let svg = Chart { title: "T", unit: "Mpps", series, groups }.svg();
        // Background, two of the legend, three bars.
        assert_eq!(svg.matches("<rect").count(), 6);
        assert!(svg.contains("1 &amp; 2") && svg.ends_with("</svg>\n"));
    }
}
