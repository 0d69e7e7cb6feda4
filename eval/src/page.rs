//! `docs/detection.md`: tables between markers are written anew, everything else is left as it is.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::sheet::Sheet;

/// Writes tables into a page.
///
/// # Errors
/// If the page cannot be read or written, or a marker is missing.
pub fn write(path: &Path, sheets: &[Sheet]) -> Result<()> {
    let mut text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    for sheet in sheets {
        text = put(&text, sheet.name, &sheet.markdown()).with_context(|| path.display().to_string())?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The text with what stands between the markers of a name replaced.
fn put(text: &str, name: &str, body: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- begin {name} -->"), format!("<!-- end {name} -->"));
    let found = text.find(&begin).zip(text.find(&end)).filter(|(from, to)| from < to);
    let Some((from, to)) = found else { bail!("the page has no lines `{begin}` and `{end}`") };
    let (before, after) = (&text[..from + begin.len()], &text[to..]);
    Ok(format!("{before}\n\n{}\n\n{after}", body.trim()))
}

#[cfg(test)]
mod tests {
    use super::put;

    #[test]
    fn what_is_between_markers_is_replaced() {
        let page = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n";
        let written = put(page, "x", "new\n").expect("it has markers");
        assert_eq!(written, "a\n<!-- begin x -->\n\nnew\n\n<!-- end x -->\nb\n");
        assert_eq!(put(&written, "x", "new\n").expect("it still has them"), written);
        assert!(put(page, "y", "new").is_err());
    }
}
