//! Clients of the model server: the programs that play direct users and the harvester, and how the lab starts them.

mod curl;
pub mod plan;
mod population;
mod volume;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::lab::process::{Process, installed};
use crate::lab::{Lab, Role, tool};
use crate::model::authority_file;
pub use population::population;
pub use volume::run as run_users;

use plan::{EventReader, HarvestPlan, UserPlan};

const USERS_PY: &str = include_str!("users.py");
const USERS_MJS: &str = include_str!("users.mjs");
const HARVEST_PY: &str = include_str!("harvest.py");

/// Direct users get the CPU before everybody else: in life each has a machine of his own, and a starved client looks
/// as if it were far from its own TCP stack.
const CLIENT_NICE: i32 = -19;

/// A client process with the events that it reports.
#[derive(Debug)]
pub struct Client {
    /// The process.
    pub process: Process,
    /// Its events.
    pub events: EventReader,
}

/// Which program plays a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Program {
    Rust,
    Python,
    Node,
}

fn program_of(kind: &str) -> Program {
    match kind {
        "python" | "requests" => Program::Python,
        "node" => Program::Node,
        _ => Program::Rust,
    }
}

/// Starts processes for all groups of a population; kinds whose program is not installed are left out and named.
///
/// # Errors
/// When a process cannot be started.
pub fn start_users(lab: &Lab, groups: Vec<plan::Group>) -> Result<(Vec<Client>, Vec<String>)> {
    let mut clients = Vec::new();
    let mut missing = Vec::new();
    let ca = authority_file(&lab.dir());
    for program in [Program::Rust, Program::Python, Program::Node] {
        let mut mine: Vec<plan::Group> =
            groups.iter().filter(|group| program_of(&group.kind) == program).cloned().collect();
        if program == Program::Rust && !installed("curl") {
            missing.extend(mine.extract_if(.., |group| group.kind == "curl").map(|group| group.kind));
        }
        if mine.is_empty() {
            continue;
        }
        let (name, interpreter) = match program {
            Program::Rust => ("users-rust", None),
            Program::Python => ("users-python", Some(("python3", "users.py", USERS_PY))),
            Program::Node => ("users-node", Some(("node", "users.mjs", USERS_MJS))),
        };
        if let Some((wanted, _, _)) = interpreter
            && !installed(wanted)
        {
            missing.extend(mine.into_iter().map(|group| group.kind));
            continue;
        }
        let out = events_file(lab, name);
        let plan = UserPlan::in_lab(lab.plan().seed, &ca, out.clone(), mine);
        let plan_file = write_plan(lab, name, &plan)?;
        let command = match interpreter {
            None => lab_command("users", &plan_file)?,
            Some((wanted, file, text)) => script(lab, wanted, file, text, &plan_file)?,
        };
        let process = lab.spawn_nice(Role::Users, name, command, CLIENT_NICE)?;
        clients.push(Client { process, events: EventReader::new(out) });
    }
    missing.sort();
    missing.dedup();
    Ok((clients, missing))
}

/// Starts a harvester behind relays.
///
/// # Errors
/// When Python is missing or the process cannot be started.
pub fn start_harvester(lab: &Lab, plan: &HarvestPlan) -> Result<Client> {
    // Its distance is far above what a starved process adds, so it may wait for the others.
    start_harvest(lab, Role::Harvester, "harvester", plan, 5)
}

/// Starts a flash crowd: the harvester's program without relays, from the users' side.
///
/// # Errors
/// When Python is missing or the process cannot be started.
pub fn start_crowd(lab: &Lab, plan: &HarvestPlan) -> Result<Client> {
    start_harvest(lab, Role::Users, "crowd", plan, CLIENT_NICE)
}

fn start_harvest(lab: &Lab, role: Role, name: &str, plan: &HarvestPlan, nice: i32) -> Result<Client> {
    let plan_file = write_plan(lab, name, plan)?;
    let command = script(lab, "python3", "harvest.py", HARVEST_PY, &plan_file)?;
    let process = lab.spawn_nice(role, name, command, nice)?;
    Ok(Client { process, events: EventReader::new(plan.out.clone()) })
}

/// Where the client process `name` reports.
pub fn events_file(lab: &Lab, name: &str) -> PathBuf {
    lab.dir().join(format!("{name}.jsonl"))
}

fn write_plan(lab: &Lab, name: &str, plan: &impl Serialize) -> Result<PathBuf> {
    let file = lab.dir().join(format!("{name}-plan.json"));
    fs::write(&file, serde_json::to_vec(plan)?).with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}

fn script(lab: &Lab, interpreter: &str, file: &str, text: &str, plan: &Path) -> Result<Command> {
    let path = lab.dir().join(file);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    let mut command = Command::new(interpreter);
    command.arg(path).arg(plan);
    Ok(command)
}

fn lab_command(verb: &str, plan: &Path) -> Result<Command> {
    let mut command = Command::new(tool()?);
    command.arg(verb).arg(plan);
    Ok(command)
}
