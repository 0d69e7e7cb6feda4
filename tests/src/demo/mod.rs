//! The demo: the main job from set-up to verdict. A model server with benign users of several kinds learns to live
//! with a hydra of relays; the shipped sensor has to find it, stop it and harm nobody. Nothing is told to the sensor.

mod screen;
pub mod summary;
mod tally;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::client::plan::HarvestPlan;
use crate::client::{Client, events_file, population, start_crowd, start_harvester, start_users};
use crate::lab::address::{POPULATION_MAX, SERVER_NAME, SERVER_V4, TLS_PORT, crowd};
use crate::lab::process::Process;
use crate::lab::sensor::{Sensor, SensorOptions};
use crate::lab::{Distance, Lab, LabPlan, Role, tool};
use crate::model::api::Pace;
use crate::model::authority_file;
use crate::stage::{Relays, start_model, start_relays};
pub use screen::Screen;
use summary::Summary;
use tally::Tally;
use watch::Watch;

/// Benign traffic alone, before the hydra comes.
const LEARN: Duration = Duration::from_secs(30);
/// What the sensor is told to learn for: ends a little before the hydra comes.
const LEARN_S: u64 = 24;
/// Between two looks at the sensor and the clients.
const LOOK: Duration = Duration::from_millis(500);
/// Clients end by themselves within their own timeout; more means that one hangs.
const LEAVE: Duration = Duration::from_secs(15);

/// Longer than any distance in the lab.
const DRAIN: Duration = Duration::from_millis(600);
/// Without packets for so long, the sensor has counted all: more than two of its ticks.
const SETTLE: Duration = Duration::from_millis(2500);

/// Flags of `sensor-lab demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoOptions {
    /// The sensor to show; `none` runs the same traffic without one.
    #[arg(long, value_name = "PATH")]
    pub sensor: Option<PathBuf>,
    /// Also write the summary to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Seed of distances and behaviour.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Number of relays, each on an address of its own.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(2..=3200))]
    pub relays: u32,
    /// Length of the run in seconds, of which the first 30 are benign users alone.
    #[arg(long, value_name = "SECS", default_value_t = 110, value_parser = clap::value_parser!(u64).range(50..=1800))]
    pub duration: u64,
    /// Leave the lab up afterwards, to look around.
    #[arg(long)]
    pub keep: bool,
    /// As many new direct users with the same volume and software come instead of the hydra; the sensor must be silent.
    #[arg(long)]
    pub flash_crowd: bool,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self { sensor: None, json: None, seed: 1, relays: 300, duration: 110, keep: false, flash_crowd: false }
    }
}

/// Runs the demo on the terminal. The exit code is 0 only if everything that the verdict asks for happened.
///
/// # Errors
/// When the lab cannot be set up or the sensor cannot be started or asked.
pub fn run(options: &DemoOptions) -> Result<ExitCode> {
    let mut screen = Screen::of_stdout();
    let summary = play(options, &mut screen)?;
    screen.summary(&summary);
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&summary).context("write the summary")? + "\n";
        std::fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(if summary.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays the scenario and returns its figures; nothing is left behind unless `keep` is set.
///
/// # Errors
/// When the lab cannot be set up or the sensor cannot be started or asked.
pub fn play(options: &DemoOptions, screen: &mut Screen) -> Result<Summary> {
    screen.say("setting up the lab: server, router, users, relay exits, harvester");
    let traffic = Duration::from_secs(options.duration);
    let (groups, users, users_v6) = population(traffic.as_secs_f64());
    let newcomers = options.relays as usize;
    anyhow::ensure!(users <= POPULATION_MAX, "--duration {} needs too many user addresses", options.duration);
    let plan = LabPlan {
        seed: options.seed,
        users,
        users_v6,
        crowd: if options.flash_crowd { newcomers } else { 0 },
        relays: if options.flash_crowd { 0 } else { newcomers },
        distance: Some(Distance::default()),
        keep: options.keep,
    };
    let mut lab = Lab::start(&plan)?;
    let mut show = Show::open(&mut lab, options, screen)?;
    screen.say(&format!("benign users come first, for {} s", LEARN.as_secs()));
    let (clients, missing) = start_users(show.lab, groups)?;
    show.clients = clients;
    if !missing.is_empty() {
        screen.say(&format!("left out, because not installed: {}", missing.join(", ")));
    }
    let start = Instant::now();
    show.look_until(start + LEARN, screen, "benign users only")?;
    screen.say(&show.begin_attack(options)?);
    show.look_until(start + traffic, screen, if options.flash_crowd { "flash crowd" } else { "hydra" })?;
    let mut summary = show.close(options, screen)?;
    if options.keep {
        summary.around = Some(around(&lab, options)?);
    } else {
        screen.say("taking the lab down");
        lab.end()?;
    }
    Ok(summary)
}

/// Everything that runs in the lab. Fields drop in this order: clients before what they talk to.
struct Show<'a> {
    lab: &'a mut Lab,
    clients: Vec<Client>,
    relays: Option<Relays>,
    sensor: Option<Sensor>,
    _model: Process,
    watch: Watch,
    tally: Tally,
    /// Packets that the router had sent when the sensor was ready.
    sent_before: u64,
}

impl<'a> Show<'a> {
    fn open(lab: &'a mut Lab, options: &DemoOptions, screen: &mut Screen) -> Result<Self> {
        let model = start_model(lab, Pace::default())?;
        let relays = if lab.plan().relays > 0 {
            let relays = start_relays(lab)?;
            screen.say(&format!("{} relays listen, {} of them microsocks", relays.exits.len(), relays.microsocks));
            Some(relays)
        } else {
            None
        };
        let mut watch = Watch::default();
        let sensor = match &options.sensor {
            Some(path) if path.as_os_str() == "none" => None,
            Some(path) => Some(start_sensor(lab, SensorOptions::of(path.clone()))?),
            None => Some(start_sensor(lab, SensorOptions::built()?)?),
        };
        let sent_before = lab.wait_quiet(Duration::from_millis(1200), Duration::from_secs(10))?;
        if let Some(sensor) = &sensor {
            watch.begin(lab, sensor)?;
            screen.say(&format!("the sensor is ready: {} XDP on eth0, enforcing", watch.status().xdp_mode));
        }
        Ok(Self {
            lab,
            clients: Vec::new(),
            relays,
            sensor,
            _model: model,
            watch,
            tally: Tally::default(),
            sent_before,
        })
    }

    fn begin_attack(&mut self, options: &DemoOptions) -> Result<String> {
        let ca = authority_file(&self.lab.dir());
        let (client, words) = if let Some(relays) = &self.relays {
            let out = events_file(self.lab, "harvester");
            let plan = HarvestPlan::in_lab(options.seed, "attack", &ca, out, relays.exits.clone());
            let words = format!(
                "the hydra begins: {} relays, {} requests/s over all, another relay for each",
                options.relays, plan.rate_per_s
            );
            (start_harvester(self.lab, &plan)?, words)
        } else {
            let out = events_file(self.lab, "crowd");
            let exits =
                (0..options.relays as usize).map(|n| (crate::client::plan::Way::Direct, crowd(n).into())).collect();
            let plan = HarvestPlan::in_lab(options.seed, "crowd", &ca, out, exits);
            let words =
                format!("the flash crowd begins: {} new direct users, {} requests/s", options.relays, plan.rate_per_s);
            (start_crowd(self.lab, &plan)?, words)
        };
        self.clients.push(client);
        Ok(words)
    }

    fn look_until(&mut self, end: Instant, screen: &mut Screen, phase: &str) -> Result<()> {
        while Instant::now() < end {
            let turn = Instant::now();
            self.look(screen)?;
            screen.show(&self.watch, &self.tally, phase, end.saturating_duration_since(turn));
            std::thread::park_timeout(LOOK.saturating_sub(turn.elapsed()).min(end.saturating_duration_since(turn)));
        }
        Ok(())
    }

    /// One look at the sensor and the clients; says what is new.
    fn look(&mut self, screen: &mut Screen) -> Result<()> {
        for client in &mut self.clients {
            if let Some(status) = client.process.ended() {
                anyhow::bail!("{} ended with {status}: {}", client.process.name(), client.process.log_tail(10));
            }
            self.tally.add(client.events.fresh()?);
        }
        let Some(sensor) = &mut self.sensor else { return Ok(()) };
        if let Some(status) = sensor.process().ended() {
            anyhow::bail!("the sensor ended with {status}:\n{}", sensor.process().log_tail(20));
        }
        for news in self.watch.look(self.lab, sensor)? {
            screen.say(&news);
        }
        Ok(())
    }

    /// Sends everybody home, waits for the last packet, and adds up.
    fn close(mut self, options: &DemoOptions, screen: &mut Screen) -> Result<Summary> {
        screen.say("the traffic ends; requests under way may finish");
        for client in &self.clients {
            client.process.signal(nix::sys::signal::Signal::SIGTERM)?;
        }
        for client in &mut self.clients {
            client.process.wait(LEAVE)?;
            self.tally.add(client.events.fresh()?);
        }
        self.clients.clear();
        // What is under way arrives first; then the line is cut, or refused connections would be sent again for minutes.
        let _ = self.lab.wait_quiet(DRAIN, DRAIN * 5);
        let line_drops = self.lab.line_drops()?;
        self.lab.cut_line();
        let sent = self.lab.wait_quiet(SETTLE, SETTLE * 10)?.saturating_sub(self.sent_before);
        if let Some(sensor) = &self.sensor {
            self.watch.look(self.lab, sensor)?;
        }
        let mut summary = Summary::add_up(options, &self.watch, &self.tally, sent);
        summary.line_drops = line_drops;
        if options.keep {
            self.lab.mend_line()?;
        } else if let Some(sensor) = &mut self.sensor {
            let status = sensor.stop();
            anyhow::ensure!(status.success(), "the sensor ended with {status}:\n{}", sensor.process().log_tail(20));
            sensor.detach(self.lab)?;
        }
        summary.judge();
        Ok(summary)
    }
}

fn start_sensor(lab: &Lab, options: SensorOptions) -> Result<Sensor> {
    Sensor::start(lab, options.tune("learn_s", LEARN_S))
}

/// How to look around in a lab that stays up.
fn around(lab: &Lab, options: &DemoOptions) -> Result<String> {
    let dir = lab.dir();
    let dir = dir.display();
    let sensor = match &options.sensor {
        Some(path) => path.clone(),
        None => SensorOptions::built()?.binary,
    };
    let (users, server) = (lab.space(Role::Users).name(), lab.space(Role::Server).name());
    Ok(format!(
        "The lab stays up, without traffic: model server, relays, sensor and delay line.\n  \
         look at the sensor   {sensor} --socket {dir}/sensor.sock status\n  \
         be a direct user     ip netns exec {users} curl --interface 10.16.1.7 --cacert {dir}/ca.pem \\\n                       \
         --connect-to ::{SERVER_V4}: https://{SERVER_NAME}:{TLS_PORT}/v1/models\n  \
         be on the server     ip netns exec {server} bash\n  \
         logs and events      {dir}\n  \
         take it down         {tool} down",
        sensor = sensor.display(),
        tool = tool()?.display(),
    ))
}
