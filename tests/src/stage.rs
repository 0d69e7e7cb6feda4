//! Sets the scene in a lab: the model server and the relays, as processes that are ready when these calls return.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::client::plan::Way;
use crate::lab::address::{RELAY_PORT, exit};
use crate::lab::process::{Process, installed};
use crate::lab::{Lab, Role, tool, wait_until};
use crate::model::api::Pace;
use crate::model::authority_file;

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
