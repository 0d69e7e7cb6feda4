//! Sets the scene in a lab: the model server or nginx, and the relays, as processes that are ready when these calls return.

use std::fs;
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::client::plan::Way;
use crate::lab::address::{PLAIN_PORT, RELAY_PORT, SERVER_NAME, SERVER_V4, SERVER_V6, TLS_PORT, exit};
use crate::lab::process::{Process, installed};
use crate::lab::{Lab, Role, tool, wait_until};
use crate::model::api::Pace;
use crate::model::{authority_file, certificate};

/// How long a process of the lab may take to get ready.
const READY: Duration = Duration::from_secs(20);
/// The model server and the relays give way to the clients, whose timing is being measured.
const BACKGROUND_NICE: i32 = 3;

/// Starts the model server in the server namespace.
///
/// # Errors
/// When it does not listen in time; the error holds the end of its log.
pub fn start_model(lab: &Lab, pace: Pace) -> Result<Process> {
    let dir = lab.dir();
    let mut command = Command::new(tool()?);
    command.arg("serve").arg("--dir").arg(&dir);
    command.arg("--prefill-ms").arg(pace.prefill.as_millis().to_string());
    command.arg("--token-ms").arg(pace.token.as_millis().to_string());
    let mut process = lab.spawn_nice(Role::Server, "model", command, BACKGROUND_NICE)?;
    ready(&mut process, &authority_file(&dir))?;
    Ok(process)
}

/// Starts nginx in the server namespace on both ports of the model server, IPv4 and IPv6, with a certificate of its
/// own; each request is answered with a short text and written to [`nginx_log`].
///
/// # Errors
/// When it is not installed or does not listen in time.
pub fn start_nginx(lab: &Lab) -> Result<Process> {
    let dir = lab.dir();
    let chain = certificate::issue(&[SERVER_V4.into(), SERVER_V6.into()])?;
    let write = |name: &str, text: &str| fs::write(dir.join(name), text).with_context(|| format!("write {name}"));
    write("nginx-chain.pem", &chain.certificates_pem)?;
    write("nginx-key.pem", &chain.key_pem)?;
    write("nginx.conf", &nginx_config(&dir))?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&dir).arg("-c").arg(dir.join("nginx.conf")).arg("-e").arg(dir.join("nginx-error.log"));
    let mut process = lab.spawn(Role::Server, "nginx", command)?;
    let ports: [(IpAddr, u16); 3] =
        [(SERVER_V4.into(), TLS_PORT), (SERVER_V4.into(), PLAIN_PORT), (SERVER_V6.into(), TLS_PORT)];
    let listens = |address: (IpAddr, u16)| lab.space(Role::Server).run(|| TcpStream::connect(address).is_ok());
    let mut ended = None;
    let up = wait_until(READY, || {
        ended = process.ended();
        ended.is_some() || ports.iter().all(|port| listens(*port))
    });
    if !up || ended.is_some() {
        bail!("nginx does not listen: {}", process.log_tail(5));
    }
    write("ca.pem", &chain.authority_pem)?;
    Ok(process)
}

/// nginx's access log: one line for each request, with the client's address first.
pub fn nginx_log(lab: &Lab) -> PathBuf {
    lab.dir().join("nginx-access.log")
}

/// One process, nothing outside the lab's folder.
fn nginx_config(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "daemon off;\nmaster_process off;\nuser root;\npid {dir}/nginx.pid;\nerror_log {dir}/nginx-error.log;\n\
         worker_rlimit_nofile 8192;\nevents {{ worker_connections 4096; }}\n\
         http {{\n\
         access_log {dir}/nginx-access.log;\nkeepalive_requests 100000000;\nclient_body_temp_path {dir}/nginx-body;\n\
         proxy_temp_path {dir}/nginx-proxy;\nfastcgi_temp_path {dir}/nginx-fastcgi;\n\
         uwsgi_temp_path {dir}/nginx-uwsgi;\nscgi_temp_path {dir}/nginx-scgi;\n\
         ssl_certificate {dir}/nginx-chain.pem;\nssl_certificate_key {dir}/nginx-key.pem;\n\
         ssl_protocols TLSv1.2 TLSv1.3;\n\
         server {{\nlisten {PLAIN_PORT};\nlisten [::]:{PLAIN_PORT};\n\
         listen {TLS_PORT} ssl http2;\nlisten [::]:{TLS_PORT} ssl http2;\nserver_name {SERVER_NAME};\n\
         location / {{ return 200 \"served\\n\"; }}\n}}\n}}\n"
    )
}

/// The relays of a lab and how the harvester reaches each.
#[derive(Debug)]
pub struct Relays {
    /// Way and address of each exit.
    pub exits: Vec<(Way, IpAddr)>,
    /// How many of them are microsocks.
    pub microsocks: usize,
    processes: Vec<Process>,
}

impl Relays {
    /// Ends all relay processes.
    pub fn stop(&mut self) {
        self.processes.clear();
    }
}

/// Starts a relay on every exit address of the lab: every eighth is microsocks where that is installed, the others are
/// the lab's own, half reached by SOCKS5 and half by CONNECT.
///
/// # Errors
/// When a relay cannot be started or does not listen in time.
pub fn start_relays(lab: &Lab) -> Result<Relays> {
    let mut relays = Relays { exits: Vec::new(), microsocks: 0, processes: Vec::new() };
    let with_microsocks = installed("microsocks");
    let mut own = String::new();
    for n in 0..lab.plan().relays {
        let address = exit(n);
        if with_microsocks && n % 8 == 7 {
            let mut command = Command::new("microsocks");
            command.arg("-i").arg(address.to_string()).arg("-p").arg(RELAY_PORT.to_string());
            command.arg("-b").arg(address.to_string());
            let name = format!("microsocks-{n}");
            relays.processes.push(lab.spawn_nice(Role::Exits, &name, command, BACKGROUND_NICE)?);
            relays.exits.push((Way::Socks5, address.into()));
            relays.microsocks += 1;
        } else {
            own.push_str(&format!("{address}\n"));
            relays.exits.push((if n % 2 == 0 { Way::Socks5 } else { Way::Connect }, address.into()));
        }
    }
    let exits = lab.dir().join("exits.txt");
    fs::write(&exits, own).context("write the list of exits")?;
    let flag = lab.dir().join("relays-ready");
    let mut command = Command::new(tool()?);
    command.arg("relay").arg(&exits).arg("--ready").arg(&flag);
    let mut process = lab.spawn_nice(Role::Exits, "relays", command, BACKGROUND_NICE)?;
    ready(&mut process, &flag)?;
    relays.processes.push(process);
    Ok(relays)
}

/// Waits until `process` has written `flag`.
fn ready(process: &mut Process, flag: &Path) -> Result<()> {
    let mut ended = None;
    wait_until(READY, || {
        ended = process.ended();
        ended.is_some() || flag.exists()
    });
    if ended.is_none() && flag.exists() {
        return Ok(());
    }
    let state = ended.map_or("is not ready".to_owned(), |status| format!("ended with {status}"));
    bail!("{} {state}: {}", process.name(), process.log_tail(5));
}
