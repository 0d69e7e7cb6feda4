//! The servers that evidence is taken before, each on both ports of the lab's server, one after the other.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::lab::address::{PLAIN_PORT, SERVER_V4, SERVER_V6, TLS_PORT};
use crate::lab::process::{Process, installed};
use crate::lab::{Lab, Role, wait_until};
use crate::model::api::Pace;
use crate::model::{authority_file, certificate};
use crate::stage::{start_model, start_nginx};

const SERVER_PY: &str = include_str!("server.py");
const SERVER_MJS: &str = include_str!("server.mjs");
/// How long a server may take to listen.
const READY: Duration = Duration::from_secs(20);
/// Fast, so that many requests take little time; the order of packets is that of a slow one.
const PACE: Pace = Pace { prefill: Duration::from_millis(12), token: Duration::from_millis(1) };

/// A server that somebody else wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// hyper with rustls, as the lab's model server: streamed answers.
    Hyper,
    /// nginx with OpenSSL: short answers.
    Nginx,
    /// Node's own HTTP: streamed answers.
    Node,
    /// Python's own HTTP/1: streamed answers.
    Python,
}

impl Kind {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hyper => "hyper",
            Self::Nginx => "nginx",
            Self::Node => "node",
            Self::Python => "python3",
        }
    }

    /// Whether it can be started.
    pub(crate) fn is_installed(self) -> bool {
        self == Self::Hyper || installed(self.name())
    }

    /// A path that it answers.
    pub(crate) fn path(self) -> &'static str {
        if self == Self::Hyper { "/v1/chat/completions" } else { "/answer" }
    }

    /// Starts it; it listens when this returns.
    pub(crate) fn start(self, lab: &Lab) -> Result<Process> {
        // Each issues a chain of its own; the file says that it listens.
        for stale in [authority_file(&lab.dir()), lab.dir().join("server-ready")] {
            let _ = fs::remove_file(stale);
        }
        match self {
            Self::Hyper => start_model(lab, PACE),
            Self::Nginx => start_nginx(lab),
            Self::Node => start_script(lab, "node", "server.mjs", SERVER_MJS),
            Self::Python => start_script(lab, "python3", "server.py", SERVER_PY),
        }
    }
}

fn start_script(lab: &Lab, interpreter: &str, name: &str, text: &str) -> Result<Process> {
    let dir = lab.dir();
    let chain = certificate::issue(&[SERVER_V4.into(), SERVER_V6.into()])?;
    for (name, text) in [(name, text), ("nginx-chain.pem", &chain.certificates_pem), ("nginx-key.pem", &chain.key_pem)]
    {
        fs::write(dir.join(name), text).with_context(|| format!("write {name}"))?;
    }
    let mut command = Command::new(interpreter);
    command.arg(dir.join(name)).arg(&dir).arg(TLS_PORT.to_string()).arg(PLAIN_PORT.to_string());
    let mut process = lab.spawn(Role::Server, "evidence-server", command)?;
    let flag = dir.join("server-ready");
    let mut ended = false;
    wait_until(READY, || {
        ended = process.ended().is_some();
        ended || flag.exists()
    });
    if ended || !flag.exists() {
        bail!("the server in {interpreter} does not listen: {}", process.log_tail(5));
    }
    fs::write(authority_file(&dir), &chain.authority_pem).context("write the authority's certificate")?;
    Ok(process)
}
