//! Every query that is shipped: the dashboard's panels, the alerts and the recording rules, as Prometheus is asked them.
//!
//! It reads the files of `deploy/` and fills variables in. Asking is the caller's.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

/// One query and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// File and panel, alert or record.
    pub place: String,
    /// PromQL without variables.
    pub expression: String,
}

/// One rule of a rule file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromRule {
    /// Name of an alert.
    pub alert: Option<String>,
    /// Name of a recorded series.
    pub record: Option<String>,
    pub expr: String,
    #[serde(default, rename = "for")]
    pub hold: Option<String>,
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// The repository's folder.
#[must_use]
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every query under `deploy/` of a repository. Those of alerts are rewritten by [`answering`], so that each must answer
/// with data, alarm or not. `range` stands for `$__rate_interval`, for example `10s`.
///
/// # Errors
/// If a file cannot be read or is not what it should be.
pub fn shipped(repository: &Path, range: &str) -> Result<Vec<Query>> {
    let read = |path: &str| {
        std::fs::read_to_string(repository.join("deploy").join(path)).with_context(|| format!("read deploy/{path}"))
    };
    let mut queries = dashboard(&read("grafana/sensor.json")?, range)?;
    for path in ["prometheus/alerts.yml", "prometheus/rules.yml"] {
        for rule in rules(&read(path)?)? {
            let name = rule.alert.as_deref().or(rule.record.as_deref()).unwrap_or_default();
            queries.push(Query { place: format!("{path}: {name}"), expression: answering(&rule.expr) });
        }
    }
    Ok(queries)
}

/// The queries of a dashboard: every panel, those inside collapsed rows too.
///
/// # Errors
/// If the text is no dashboard, or a variable is left over.
pub fn dashboard(text: &str, range: &str) -> Result<Vec<Query>> {
    let dashboard: Value = serde_json::from_str(text).context("the dashboard is not JSON")?;
    let mut queries = Vec::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap_or("a panel without a title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let raw = target["expr"].as_str().with_context(|| format!("a query of `{title}` has no expression"))?;
            let expression = raw.replace("$__rate_interval", range).replace("$job", ".*").replace("$instance", ".*");
            if expression.contains('$') {
                bail!("`{title}` has a variable that nobody fills in: {raw}");
            }
            queries.push(Query { place: format!("dashboard: {title}"), expression });
        }
    }
    Ok(queries)
}

/// The panels of a dashboard that show something, in order.
#[must_use]
pub fn panels(dashboard: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().into_iter().flatten() {
        if panel["type"] == "row" {
            found.extend(panels(panel));
        } else {
            found.push(panel);
        }
    }
    found
}

/// The rules of a rule file.
///
/// # Errors
/// If the text is no rule file.
pub fn rules(text: &str) -> Result<Vec<PromRule>> {
    #[derive(Deserialize)]
    struct File {
        groups: Vec<Group>,
    }
    #[derive(Deserialize)]
    struct Group {
        rules: Vec<PromRule>,
    }
    let file: File = serde_yaml_ng::from_str(text).context("not a rule file")?;
    Ok(file.groups.into_iter().flat_map(|group| group.rules).collect())
}

/// The expression with every comparison as a number: `a > 1` answers only while it holds, `a > bool 1` always, if its
/// series exist.
#[must_use]
pub fn answering(expression: &str) -> String {
    let mut text = String::new();
    let mut rest = expression.chars().peekable();
    // Label matchers stand in braces, ranges in brackets: what looks like a comparison there is none.
    let (mut nested, mut quote) = (0_u32, None);
    while let Some(letter) = rest.next() {
        text.push(letter);
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some(_), '\\') => text.extend(rest.next()),
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(letter),
            (None, '{' | '[') => nested += 1,
            (None, '}' | ']') => nested = nested.saturating_sub(1),
            (None, '>' | '<' | '=' | '!') if nested == 0 => {
                text.extend(rest.next_if_eq(&'='));
                text.push_str(" bool");
            }
            (None, _) => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{answering, dashboard, repository, shipped};

    #[test]
    fn comparisons_become_numbers_and_matchers_stay() {
        for (expression, expected) in [
            ("a > 0", "a > bool 0"),
            ("a >= 0 and b == 1", "a >= bool 0 and b == bool 1"),
            ("up{job=\"x\",i!=\"y\"} == 0", "up{job=\"x\",i!=\"y\"} == bool 0"),
            ("a{b=~\"c > d\"} < e", "a{b=~\"c > d\"} < bool e"),
            ("a{b=\"\\\"}>\"} != 1", "a{b=\"\\\"}>\"} != bool 1"),
            ("rate(a[5m]) / b", "rate(a[5m]) / b"),
        ] {
            assert_eq!(answering(expression), expected);
        }
    }

    #[test]
    fn every_shipped_query_is_found_with_its_variables_filled_in() {
        let queries = shipped(&repository(), "10s").expect("the files are there");
        let count = |part: &str| queries.iter().filter(|query| query.place.starts_with(part)).count();
        assert!(count("dashboard: ") >= 40, "{} queries of the dashboard", count("dashboard: "));
        assert!(count("prometheus/alerts.yml: ") >= 14);
        assert!(count("prometheus/rules.yml: ") >= 8);
        for query in &queries {
            assert!(!query.expression.contains('$'), "{query:?}");
        }
        let relayed = queries.iter().find(|query| query.place == "dashboard: Relayed").expect("the panel is there");
        assert!(relayed.expression.contains("{job=~\".*\",instance=~\".*\"}[10s]"), "{relayed:?}");
    }

    #[test]
    fn a_variable_that_nobody_fills_in_is_found() {
        let panel = r#"{"panels":[{"type":"row","panels":[{"title":"x","targets":[{"expr":"a{b=\"$c\"}"}]}]}]}"#;
        let error = dashboard(panel, "1m").expect_err("$c is unknown");
        assert!(error.to_string().contains("`x` has a variable"), "{error}");
    }
}
