//! A real Prometheus in the lab's server namespace, with the shipped rules, scraping the sensor every second.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::lab::process::Process;
use crate::lab::{Lab, Role, wait_until};
use crate::query::repository;

/// Where it listens, inside the namespace.
const ADDRESS: &str = "127.0.0.1:9090";
const READY: Duration = Duration::from_secs(30);

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
}

impl Prometheus {
    /// Starts it and waits until it answers. `target` is scraped as job `sensor`, once a second.
    ///
    /// # Errors
    /// When it cannot be started, or refuses the shipped rules.
    pub fn start(lab: &Lab, target: &str) -> Result<Self> {
        let rules = repository().join("deploy/prometheus").canonicalize().context("find deploy/prometheus")?;
        let config = lab.dir().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{:?}, {:?}]\n\
             scrape_configs: [{{job_name: sensor, static_configs: [{{targets: [{target:?}]}}]}}]\n",
            rules.join("alerts.yml"),
            rules.join("rules.yml"),
        );
        fs::write(&config, text).context("write Prometheus's configuration")?;
        let mut command = Command::new("prometheus");
        command.arg("--config.file").arg(&config).arg("--storage.tsdb.path").arg(lab.dir().join("prometheus"));
        command.arg(format!("--web.listen-address={ADDRESS}"));
        let mut process = lab.spawn(Role::Server, "prometheus", command)?;
        let ready = wait_until(READY, || process.ended().is_some() || Self::get(lab, "/-/ready", &[]).is_ok());
        ensure!(ready && process.ended().is_none(), "Prometheus does not start:\n{}", process.log_tail(20));
        Ok(Self { process })
    }

    /// The values of an instant query, one for each series; none when nothing answers.
    ///
    /// # Errors
    /// When Prometheus refuses the query.
    pub fn query(&self, lab: &Lab, expression: &str) -> Result<Vec<f64>> {
        let query = format!("query={expression}");
        let answer: Value = serde_json::from_str(&Self::get(lab, "/api/v1/query", &[&query])?)?;
        let results = answer["data"]["result"].as_array().context("no result in the answer")?;
        let value = |result: &Value| result["value"][1].as_str().and_then(|text| text.parse().ok());
        results.iter().map(|result| value(result).with_context(|| format!("no value in {result}"))).collect()
    }

    /// Every loaded rule by name, with its health: `ok`, `err` or `unknown` before its first evaluation.
    ///
    /// # Errors
    /// When Prometheus does not answer.
    pub fn rules(&self, lab: &Lab) -> Result<Vec<(String, String)>> {
        let answer: Value = serde_json::from_str(&Self::get(lab, "/api/v1/rules", &[])?)?;
        let groups = answer["data"]["groups"].as_array().context("no groups in the answer")?;
        let rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(rules.map(|rule| (text(&rule["name"]), text(&rule["health"]))).collect())
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        self.process.log_tail(lines)
    }

    fn get(lab: &Lab, path: &str, parameters: &[&str]) -> Result<String> {
        let mut arguments = vec!["--silent", "--show-error", "--fail-with-body", "--max-time", "10", "--get"];
        for parameter in parameters {
            arguments.extend(["--data-urlencode", parameter]);
        }
        let url = format!("http://{ADDRESS}{path}");
        arguments.push(&url);
        let output = lab.output(Role::Server, "curl", &arguments)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("Prometheus refuses {path} {parameters:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(text)
    }
}
