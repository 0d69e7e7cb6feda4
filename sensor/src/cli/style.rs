//! Colour, only where it helps: never off a terminal, never under `NO_COLOR` (no-color.org).

use std::io::IsTerminal;

use clap::builder::styling::{AnsiColor, Color, Style};

/// Whether output is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    pub coloured: bool,
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Good,
    Warning,
    Bad,
    /// Headings.
    Strong,
    /// Less important.
    Faint,
}

impl Paint {
    /// As standard output and the environment want it.
    #[must_use]
    pub fn for_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { coloured: std::io::stdout().is_terminal() && !refused && !dumb }
    }

    /// The text in its tone.
    #[must_use]
    pub fn text(self, tone: Tone, text: &str) -> String {
        if !self.coloured {
            return text.to_owned();
        }
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(Color::Ansi(colour)));
        let style = match tone {
            Tone::Good => colour(AnsiColor::Green),
            Tone::Warning => colour(AnsiColor::Yellow).bold(),
            Tone::Bad => colour(AnsiColor::Red).bold(),
            Tone::Strong => Style::new().bold(),
            Tone::Faint => Style::new().dimmed(),
        };
        format!("{}{text}{}", style.render(), style.render_reset())
    }
}

#[cfg(test)]
mod tests {
    use super::{Paint, Tone};

    #[test]
    fn plain_output_has_no_escape_codes() {
        assert_eq!(Paint { coloured: false }.text(Tone::Bad, "x"), "x");
        let red = Paint { coloured: true }.text(Tone::Bad, "x");
        assert!(red.starts_with('\u{1b}') && red.ends_with("\u{1b}[0m"), "{red:?}");
    }
}
