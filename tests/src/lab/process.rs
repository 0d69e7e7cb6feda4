//! Child processes of a lab: started inside a namespace, in a group of their own, with their output in a log file,
//! and gone when the lab is gone.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::namespace::Namespace;
use super::syscall::{Birth, prepare};
use super::wait_until;

type Job = Box<dyn FnOnce() + Send>;

/// A running child. Dropping it kills its whole process group.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    kept: bool,
}

/// What to start and how.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a Namespace,
    pub(crate) log: PathBuf,
    /// Negative values run before others: for processes whose timing is the measurement.
    pub(crate) nice: i32,
    /// Survive this process (`--keep`).
    pub(crate) kept: bool,
}

impl Process {
    pub(crate) fn start(start: &Start<'_>, mut command: Command) -> Result<Self> {
        let log = File::create(&start.log).with_context(|| format!("create {}", start.log.display()))?;
        command.stdin(Stdio::null()).stdout(log.try_clone().context("share a log file")?).stderr(log);
        let birth = Birth { namespace: Some(start.namespace.duplicate()?), mortal: !start.kept, nice: start.nice };
        prepare(&mut command, birth);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = on_spawner(move || command.spawn())
            .with_context(|| format!("start {program}: is it installed and on the PATH?"))?;
        Ok(Self { name: start.name.to_owned(), child, log: start.log.clone(), kept: start.kept })
    }

    /// The name given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Process id, which is also its process group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// File with the standard output and error of the process.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of the log, for error messages.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// The exit status when the process has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends one signal to the process itself.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        nix::sys::signal::kill(self.pid(), signal).with_context(|| format!("signal {}", self.name))
    }

    /// Waits for the end by itself.
    ///
    /// # Errors
    /// When it still runs at the deadline.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let name = self.name.clone();
        let mut status = None;
        let ended = wait_until(deadline, || {
            status = self.ended();
            status.is_some()
        });
        if !ended {
            bail!("{name} still runs after {deadline:?}");
        }
        status.context("ended without a status")
    }

    /// Asks the process to end (SIGTERM), waits, and kills the group when it does not.
    pub fn stop(&mut self, grace: Duration) -> ExitStatus {
        let _ = self.signal(Signal::SIGTERM);
        let status = self.wait(grace);
        let _ = killpg(self.pid(), Signal::SIGKILL);
        match status {
            Ok(status) => status,
            Err(_) => self.child.wait().unwrap_or_else(|_| ExitStatus::from_raw(9)),
        }
    }

    /// Kills the whole group, also where the lab is to be kept.
    pub(crate) fn kill(mut self) {
        self.kept = false;
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.kept || self.ended().is_some() {
            return;
        }
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// True when `program` is found on the PATH.
pub fn installed(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Runs a command to its end inside a namespace and returns its output.
pub(crate) fn output<I, S>(namespace: &Namespace, program: &OsStr, arguments: I) -> Result<std::process::Output>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    prepare(&mut command, Birth { namespace: Some(namespace.duplicate()?), mortal: true, nice: 0 });
    let child = on_spawner(move || command.spawn())
        .with_context(|| format!("start {}: is it installed and on the PATH?", program.to_string_lossy()))?;
    let started = Instant::now();
    let output = child.wait_with_output().context("wait for a command")?;
    if started.elapsed() > Duration::from_secs(120) {
        bail!("{} took longer than two minutes", program.to_string_lossy());
    }
    Ok(output)
}

/// Runs `job` on the one thread that starts all children. The parent-death signal follows the *thread* that forked,
/// so children must not be started from threads that come and go.
fn on_spawner<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Job>>> = OnceLock::new();
    let sender = SPAWNER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || jobs.into_iter().for_each(|job| job()))
            .expect("start the spawner thread");
        Mutex::new(sender)
    });
    let (reply, answer) = mpsc::channel();
    let job: Job = Box::new(move || {
        let _ = reply.send(job());
    });
    sender.lock().expect("no holder panics").send(job).expect("the spawner never ends");
    answer.recv().expect("the spawner answers each job")
}
