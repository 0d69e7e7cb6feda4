//! Frame tables: one test a line, `name | frames | expectation | ...`. Empty lines and lines that begin with `#` are
//! skipped. Errors name the line and the row.

use super::{FrameError, Step, notation, steps};

/// One line of a table.
#[derive(Clone, Debug)]
pub struct Row {
    /// Line in the file, from 1.
    pub line: usize,
    /// What the test shows.
    pub name: String,
    /// The frames, in order.
    pub steps: Vec<Step>,
    /// The cells behind the frames.
    pub expected: Vec<String>,
}

/// Reads a whole table.
///
/// # Errors
/// The first row that cannot be read, by line and name; or a table without rows.
pub fn read(text: &str) -> Result<Vec<Row>, FrameError> {
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        rows.push(row(index + 1, line)?);
    }
    if rows.is_empty() {
        return Err(FrameError::new("the table has no rows"));
    }
    Ok(rows)
}

fn row(number: usize, line: &str) -> Result<Row, FrameError> {
    let wrong = |name: &str, error: &FrameError| FrameError::new(format!("line {number}, `{name}`: {error}"));
    let mut cells = notation::split(line, '|').map_err(|error| wrong(line, &error))?.into_iter();
    let name = cells.next().unwrap_or_default();
    let frames = cells.next().ok_or_else(|| wrong(&name, &FrameError::new("no frames behind a `|`")))?;
    let steps = steps(&frames).map_err(|error| wrong(&name, &error))?;
    Ok(Row { line: number, name, steps, expected: cells.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_name_frames_and_expectations() {
        let rows = read("# comment\n\nsyn, then ack | v4 > :8000 S ; +30ms v4 > :8000 A | pass | connections+1\n")
            .expect("the table is right");
        let [row] = &rows[..] else { panic!("one row, not {}", rows.len()) };
        assert_eq!((row.line, row.name.as_str(), row.steps.len()), (3, "syn, then ack", 2));
        assert_eq!(row.steps[1].after.as_millis(), 30);
        assert_eq!(row.expected, ["pass", "connections+1"]);
    }

    #[test]
    fn errors_name_the_row() {
        let error = read("good | v4 S\nbad one | v4 S frob\n").expect_err("frob is no word");
        assert_eq!(error.to_string(), "line 2, `bad one`: unknown word `frob`");
        let error = read("no frames\n").expect_err("a row needs frames");
        assert_eq!(error.to_string(), "line 1, `no frames`: no frames behind a `|`");
    }

    #[test]
    fn separators_inside_quotes_are_text() {
        let rows = read(r#"quoted | v4 PA payload "a | b; c \" d" | pass"#).expect("the table is right");
        assert!(rows[0].steps[0].frame.ends_with(b"a | b; c \" d"));
    }
}
