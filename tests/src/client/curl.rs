//! One request by the system's curl, from a given address.

use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;

use tokio::process::Command;

use super::plan::{Group, UserPlan};

/// Runs curl once; the error names what went wrong.
pub(super) async fn request(plan: &UserPlan, group: &Group, from: IpAddr, body: &str) -> Result<(), String> {
    let server = if from.is_ipv6() { plan.server_v6 } else { plan.server };
    let (scheme, port) = if group.tls { ("https", plan.tls_port) } else { ("http", plan.plain_port) };
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--no-buffer", "--max-time"])
        .arg(plan.timeout_s.to_string())
        .arg("--interface")
        .arg(from.to_string())
        .arg("--cacert")
        .arg(&plan.ca)
        .arg("--connect-to")
        .arg(format!("{}:{port}:{}", plan.name, SocketAddr::new(server, port)))
        .args(["--header", "Content-Type: application/json", "--data", body])
        .arg(format!("{scheme}://{}:{port}/v1/chat/completions", plan.name))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("curl: {error}"))?;
    match output.status.code() {
        Some(0) if output.stdout.windows(6).any(|window| window == b"[DONE]") => Ok(()),
        Some(0) => Err("cut".to_owned()),
        Some(28) => Err("timeout".to_owned()),
        Some(35) => Err("tls".to_owned()),
        Some(7 | 52 | 55 | 56 | 92) => Err("reset".to_owned()),
        other => Err(format!("curl {other:?}")),
    }
}
