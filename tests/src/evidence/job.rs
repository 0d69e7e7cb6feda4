//! One run of a client: which program, which protocol, how many requests. Knows each program's command line; refuses to
//! judge what it counted.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::lab::process::installed;
use crate::lab::{Lab, Role};
use crate::model::authority_file;

const CLIENT_PY: &str = include_str!("client.py");
const CLIENT_MJS: &str = include_str!("client.mjs");

/// A client that somebody else wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Program {
    /// curl, one process for each connection.
    Curl,
    /// h2load of nghttp2. It cannot choose its address, so the namespace's route does.
    H2load,
    /// Node's own HTTP.
    Node,
    /// Python's own HTTP.
    Python,
}

impl Program {
    /// Its name, which is that of the program.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Curl => "curl",
            Self::H2load => "h2load",
            Self::Node => "node",
            Self::Python => "python3",
        }
    }

    /// Whether it is there.
    pub(crate) fn is_installed(self) -> bool {
        installed(self.name())
    }
}

/// How a client reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Way {
    Direct,
    Socks5,
    Connect,
    /// Through a relay that always goes to the server.
    Forward,
}

/// What a client is to do.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Job {
    /// Where the client's connections come from; not used through a relay.
    pub(crate) from: IpAddr,
    pub(crate) server: IpAddr,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) http2: bool,
    /// Streams at once.
    pub(crate) streams: usize,
    pub(crate) connections: usize,
    /// Requests on each connection.
    pub(crate) requests: usize,
    pub(crate) path: &'static str,
    /// With a body of varying length; without one it asks by GET.
    pub(crate) post: bool,
    pub(crate) way: Way,
    pub(crate) relay: IpAddr,
    pub(crate) relay_port: u16,
    pub(crate) ca: PathBuf,
}

/// Runs the client to its end; how many requests it says were answered completely.
pub(crate) fn run(lab: &Lab, program: Program, job: &Job) -> Result<u64> {
    let role = if job.way == Way::Direct { Role::Users } else { Role::Harvester };
    let job = &Job { ca: authority_file(&lab.dir()), ..job.clone() };
    match program {
        Program::Curl => curl(lab, role, job),
        Program::H2load => h2load(lab, role, job),
        Program::Node => script(lab, role, "node", "evidence-client.mjs", CLIENT_MJS, job),
        Program::Python => script(lab, role, "python3", "evidence-client.py", CLIENT_PY, job),
    }
}

fn script(lab: &Lab, role: Role, interpreter: &str, name: &str, text: &str, job: &Job) -> Result<u64> {
    let file = lab.dir().join(name);
    std::fs::write(&file, text).with_context(|| format!("write {name}"))?;
    let argument = serde_json::to_string(job).context("write the job")?;
    let said = output(lab, role, interpreter, &[file.display().to_string(), argument])?;
    said.trim().parse().with_context(|| format!("{interpreter} says {said:?}"))
}

fn curl(lab: &Lab, role: Role, job: &Job) -> Result<u64> {
    let scheme = if job.tls { "https" } else { "http" };
    let url = format!("{scheme}://{}:{}{}?n=[1-{}]", job.server, job.port, job.path, job.requests);
    let mut arguments: Vec<String> =
        ["--silent", "--max-time", "60", "--output", "/dev/null", "--write-out", "%{http_code}\n"]
            .map(str::to_owned)
            .into();
    let mut add = |more: &[&str]| arguments.extend(more.iter().map(|word| (*word).to_owned()));
    add(&["--cacert", &job.ca.display().to_string()]);
    add(match (job.http2, job.tls) {
        (true, true) => &["--http2"],
        (true, false) => &["--http2-prior-knowledge"],
        (false, _) => &["--http1.1"],
    });
    if job.streams > 1 {
        add(&["--parallel", "--parallel-max", &job.streams.to_string()]);
    }
    if job.post {
        let body =
            r#"{"stream": true, "max_tokens": 130, "messages": [{"role": "user", "content": "GET / HTTP/1.1"}]}"#;
        add(&["--header", "Content-Type: application/json", "--data", body]);
    }
    let relay = format!("{}:{}", job.relay, job.relay_port);
    match job.way {
        Way::Direct => add(&["--interface", &job.from.to_string()]),
        Way::Socks5 => add(&["--socks5", &relay]),
        Way::Connect => add(&["--proxy", &format!("http://{relay}"), "--proxytunnel"]),
        Way::Forward => add(&["--connect-to", &format!("::{relay}")]),
    }
    arguments.push(url);
    let mut done = 0;
    for _ in 0..job.connections {
        let said = lab.output(role, "curl", &arguments)?;
        done += String::from_utf8_lossy(&said.stdout).lines().filter(|line| *line == "200").count() as u64;
    }
    Ok(done)
}

fn h2load(lab: &Lab, role: Role, job: &Job) -> Result<u64> {
    let scheme = if job.tls { "https" } else { "http" };
    let mut arguments: Vec<String> = ["-t", "1", "-c", "1", "-n"].map(str::to_owned).into();
    arguments.extend([job.requests.to_string(), "-m".to_owned(), job.streams.to_string()]);
    if !job.http2 {
        arguments.push("--h1".to_owned());
    }
    if job.post {
        let file = lab.dir().join("evidence-body");
        let text = "POST / HTTP/1.1 ".repeat(80);
        let body =
            format!(r#"{{"stream": true, "max_tokens": 130, "messages": [{{"role": "user", "content": "{text}"}}]}}"#);
        std::fs::write(&file, body).context("write the body")?;
        arguments.extend(["-H".to_owned(), "content-type: application/json".to_owned()]);
        arguments.extend(["-d".to_owned(), file.display().to_string()]);
    }
    arguments.push(format!("{scheme}://{}:{}{}", job.server, job.port, job.path));
    let route = ["route", "replace", "default", "dev", "tun0", "src", &job.from.to_string()].map(str::to_owned);
    output(lab, role, "ip", &route)?;
    let mut done = 0;
    for _ in 0..job.connections {
        let said = output(lab, role, "h2load", &arguments)?;
        let line = said.lines().find(|line| line.starts_with("requests:")).context("h2load sums nothing up")?;
        let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let at = words.iter().position(|word| *word == "succeeded").context("h2load tells no success")?;
        done += words[at - 1].parse::<u64>().context("h2load tells no number")?;
    }
    Ok(done)
}

fn output(lab: &Lab, role: Role, program: &str, arguments: &[String]) -> Result<String> {
    let output = lab.output(role, program, arguments)?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
