//! What the sensor costs a real server: nginx with TLS and keep-alive, and the streaming model server, asked by wrk
//! over veth. Server and client share one CPU, so that all the sensor takes is taken from them; its daemon and the
//! flood have the other.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aya::programs::XdpMode;
use nix::net::if_::if_nametoindex;
use nix::unistd::Pid;
use serde::Serialize;

use super::feeder::{Feeder, Tool, on_cpu_politely, pin};
use super::machine::wait_quiet;
use super::sensor::{Instance, Plan};
use super::subject::{Arena, MEASURED, OTHER};
use super::traffic::{Range, Traffic};
use crate::lab::address::{SERVER_V4, TLS_PORT};
use crate::lab::process::{Process, installed};
use crate::lab::topology::{ROUTER_INTERFACE, SERVER_INTERFACE};
use crate::lab::{Role, set_nice, tool, wait_until};
use crate::stage::start_nginx;

/// The ways to the server: which program stands in each.
const WAYS: [(&str, &str, &str); 3] = [
    ("no program", "bare", "198.51.100"),
    ("bare XDP_PASS", "passed", "203.0.113"),
    ("sensor", SERVER_INTERFACE, "192.0.2"),
];
/// Connections that are kept alive.
const CONNECTIONS: &str = "32";
/// Spoofed SYNs per second.
pub const FLOOD_PER_S: u32 = 100_000;
/// Parts of a second in which they are sent.
const BURSTS: u32 = 100;
/// Servers and client go before what else runs on their CPU.
const NICE: i32 = -15;
/// Where SYN-ACKs to spoofed sources end.
const SPOOFED: Range = Range::Free;
/// How long a server may take to listen.
const READY: Duration = Duration::from_secs(20);

/// One figure of one repetition.
#[derive(Clone, Debug, Serialize)]
pub struct Served {
    /// `nginx` or `stream`.
    pub server: &'static str,
    /// What stands before it.
    pub program: &'static str,
    /// Spoofed SYNs per second meanwhile.
    pub flood_per_s: u32,
    /// Requests per second.
    pub requests_per_s: f64,
    /// Median latency, milliseconds.
    pub p50_ms: f64,
    /// 99th percentile, milliseconds.
    pub p99_ms: f64,
    /// Answers that failed or did not come.
    pub errors: u64,
}

/// The server's side, set up.
struct Site {
    generators: Vec<(Feeder, u32)>,
    sensor: Instance,
    _pass: Vec<Feeder>,
}

/// Asks each server in each way, `repetitions` times, for `seconds` each.
/// Before each it waits so long for a quiet machine.
pub(super) fn serve(
    arena: &Arena,
    repetitions: u16,
    seconds: u32,
    quiet: Duration,
    mut say: impl FnMut(&str),
) -> Result<Vec<Served>> {
    for program in ["nginx", "wrk"] {
        ensure!(installed(program), "`{program}` is not installed: `cargo xtask setup` brings it");
    }
    arena.only(&[])?;
    let site = Site::build(arena)?;
    let mut all = Vec::new();
    for server in ["nginx", "stream"] {
        let process = if server == "nginx" { start_nginx(&arena.lab)? } else { start_stream(arena)? };
        keep(process.id(), MEASURED)?;
        for repetition in 0..repetitions {
            let mut order: Vec<(usize, bool)> = (0..WAYS.len()).flat_map(|way| [(way, false), (way, true)]).collect();
            if repetition % 2 == 1 {
                order.reverse();
            }
            for (way, flooded) in order {
                say(&format!("{server}, {}{}", WAYS[way].0, if flooded { ", flooded" } else { "" }));
                wait_quiet(quiet);
                all.push(site.ask(arena, server, way, flooded, seconds)?);
            }
        }
        drop(process);
    }
    site.sensor.resume()?;
    Ok(all)
}

impl Site {
    fn build(arena: &Arena) -> Result<Self> {
        let (server, net) = (arena.server(), arena.net());
        for (_, name, network) in &WAYS[..2] {
            server.batch(&format!(
                "link add {name} type veth peer name {name}-n netns {0}\nlink set {name} addrgenmode none\n\
                 link set {name} up\naddr add {network}.2/24 dev {name}\n",
                net.name()
            ))?;
            net.batch(&format!(
                "link set {name}-n addrgenmode none\nlink set {name}-n up\naddr add {network}.1/24 dev {name}-n\n"
            ))?;
        }
        net.batch(&format!("route add blackhole {}\n", SPOOFED.prefix()))?;
        let mut pass = Vec::new();
        let mut attach = |role: Role, interface: &str| -> Result<()> {
            let mut feeder = Feeder::plain(Tool::Pass)?;
            arena.lab.space(role).run(|| -> Result<()> {
                let program = feeder.program()?;
                program.attach(interface, XdpMode::Driver).with_context(|| format!("attach to {interface}"))?;
                Ok(())
            })?;
            pass.push(feeder);
            Ok(())
        };
        attach(Role::Server, "passed")?;
        // The router's ends must take XDP frames, all alike.
        for (_, name, _) in WAYS {
            attach(Role::Net, &far(name))?;
        }
        let plan = Plan {
            binary: arena.binary(),
            name: "serving",
            interface: SERVER_INTERFACE,
            config: "",
            port: 9_699,
            services: &[],
        };
        let sensor = Instance::start(&arena.lab, &plan, OTHER)?;
        let mut generators = Vec::new();
        for (way, (_, name, _)) in WAYS.iter().enumerate() {
            let mut feed = Traffic::syn(1 << 20).feed(way as u64)?;
            feed.frame[..6].copy_from_slice(&hardware_address(arena, name)?);
            let index = net.run(|| if_nametoindex(far(name).as_str())).context("index of the router's end")?;
            generators.push((Feeder::load(Tool::Generator, &feed)?, index));
        }
        Ok(Self { generators, sensor, _pass: pass })
    }

    fn ask(&self, arena: &Arena, server: &'static str, way: usize, flooded: bool, seconds: u32) -> Result<Served> {
        let (program, _, network) = WAYS[way];
        if program == "sensor" {
            self.sensor.resume()?;
        } else {
            self.sensor.pause()?;
        }
        let (generator, index) = &self.generators[way];
        let over = AtomicBool::new(!flooded);
        let (text, sent) = std::thread::scope(|scope| {
            let flood = scope.spawn(|| flood(arena, generator, *index, &over));
            let text = wrk(arena, server, &format!("{network}.2"), seconds);
            over.store(true, Ordering::Relaxed);
            (text, flood.join().expect("the flood does not panic"))
        });
        let sent = sent?;
        let figures = read_wrk(&text?)?;
        let flood_per_s = if flooded { (sent / u64::from(seconds)) as u32 } else { 0 };
        Ok(Served { server, program, flood_per_s, ..figures })
    }
}

/// The router's end of a way.
fn far(name: &str) -> String {
    if name == SERVER_INTERFACE { ROUTER_INTERFACE.to_owned() } else { format!("{name}-n") }
}

fn hardware_address(arena: &Arena, interface: &str) -> Result<[u8; 6]> {
    // sysfs shows the interfaces of the namespace it was mounted in; `ip` asks the kernel.
    let output = arena.lab.output(Role::Server, "ip", &["-json", "link", "show", "dev", interface])?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).context("`ip -json` prints JSON")?;
    let text = answer[0]["address"].as_str().with_context(|| format!("{interface} has no address"))?;
    let bytes: Vec<u8> = text.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes.try_into().map_err(|_| anyhow::anyhow!("{text} is no hardware address"))
}

/// Sends spoofed SYNs at a bounded rate until it is over; how many.
fn flood(arena: &Arena, generator: &Feeder, index: u32, over: &AtomicBool) -> Result<u64> {
    on_cpu_politely(arena.net(), OTHER, || {
        let (began, mut sent) = (Instant::now(), 0_u64);
        while !over.load(Ordering::Relaxed) {
            let due = began.elapsed().as_secs_f64() * f64::from(FLOOD_PER_S);
            // What could not be sent in time is not made up for.
            let burst = (due - sent as f64).clamp(0.0, f64::from(FLOOD_PER_S / BURSTS * 4)) as u32;
            if burst >= FLOOD_PER_S / BURSTS {
                generator.send(index, burst)?;
                sent += u64::from(burst);
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        Ok(sent)
    })
}

/// The streaming model server, on the addresses of all ways: few tokens at once, so that requests count.
fn start_stream(arena: &Arena) -> Result<Process> {
    let folder = arena.lab.dir().join("stream");
    std::fs::create_dir(&folder).context("create the model server's folder")?;
    let mut command = Command::new(tool()?);
    command.arg("serve").arg("--dir").arg(&folder).args(["--prefill-ms", "0", "--token-ms", "1"]);
    for (_, _, network) in WAYS {
        command.arg("--address").arg(format!("{network}.2"));
    }
    let mut process = arena.lab.spawn(Role::Server, "stream-server", command)?;
    let listens = || arena.server().run(|| std::net::TcpStream::connect((SERVER_V4, TLS_PORT)).is_ok());
    let mut ended = None;
    let up = wait_until(READY, || {
        ended = process.ended();
        ended.is_some() || listens()
    });
    if !up || ended.is_some() {
        bail!("the model server does not listen: {}", process.log_tail(5));
    }
    Ok(process)
}

/// Keeps every thread of a server to one CPU, and before what else runs there.
fn keep(pid: u32, cpu: usize) -> Result<()> {
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).context("list a server's threads")?.flatten() {
        if let Some(Ok(id)) = task.file_name().to_str().map(str::parse) {
            pin(Pid::from_raw(id), cpu)?;
            set_nice(id, NICE)?;
        }
    }
    Ok(())
}

/// Runs wrk on the server's CPU; what it printed.
fn wrk(arena: &Arena, server: &str, address: &str, seconds: u32) -> Result<String> {
    let script: PathBuf = arena.lab.dir().join("stream.lua");
    let mut arguments = vec![
        "-n".to_owned(),
        NICE.to_string(),
        "taskset".to_owned(),
        "--cpu-list".to_owned(),
        MEASURED.to_string(),
        "wrk".to_owned(),
        "-t1".to_owned(),
        format!("-c{CONNECTIONS}"),
        format!("-d{seconds}s"),
        "--latency".to_owned(),
    ];
    let path = if server == "stream" {
        let body = r#"{"model":"lab","stream":true,"max_tokens":4,"messages":[{"role":"user","content":"hi"}]}"#;
        let text = format!(
            "wrk.method = \"POST\"\nwrk.body = '{body}'\nwrk.headers[\"Content-Type\"] = \"application/json\"\n"
        );
        std::fs::write(&script, text).context("write wrk's script")?;
        arguments.extend(["-s".to_owned(), script.display().to_string()]);
        "/v1/chat/completions"
    } else {
        "/"
    };
    arguments.push(format!("https://{address}:{TLS_PORT}{path}"));
    let output = arena.lab.output(Role::Users, "nice", &arguments)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "wrk: {text}{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(text)
}

/// The figures of wrk's report.
fn read_wrk(text: &str) -> Result<Served> {
    let word = |start: &str| text.lines().find_map(|line| line.trim().strip_prefix(start)?.split_whitespace().next());
    let numbers = |text: &str| text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u64>().ok()).sum();
    let failures = text.lines().filter(|line| line.contains("errors:") || line.contains("Non-2xx"));
    let failed: u64 =
        failures.filter_map(|line| line.split_once(':')).map(|(_, counts)| -> u64 { numbers(counts) }).sum();
    Ok(Served {
        server: "",
        program: "",
        flood_per_s: 0,
        requests_per_s: word("Requests/sec:").and_then(|n| n.parse().ok()).context("wrk says no rate")?,
        p50_ms: word("50%").and_then(milliseconds).context("wrk says no median")?,
        p99_ms: word("99%").and_then(milliseconds).context("wrk says no 99th percentile")?,
        errors: failed,
    })
}

/// A time as wrk writes it.
fn milliseconds(text: &str) -> Option<f64> {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 6e4)];
    units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

/// Share of requests per second that nginx loses to the sensor, repetition by repetition, no flood.
pub fn overhead(served: &[Served]) -> Vec<f64> {
    let rates = |program| {
        let rows =
            served.iter().filter(move |row| row.server == "nginx" && row.program == program && row.flood_per_s == 0);
        rows.map(|row| row.requests_per_s)
    };
    rates(WAYS[0].0).zip(rates(WAYS[2].0)).map(|(without, with)| 1.0 - with / without).collect()
}

#[cfg(test)]
mod tests {
    use super::{milliseconds, read_wrk};

    #[test]
    fn reports() {
        let text = "Running 2s test @ https://192.0.2.2:8443/\n  1 threads and 32 connections\n  Latency Distribution\n\
                    \x20    50%    1.20ms\n     75%    1.40ms\n     99%  850.00us\n  20 requests in 2.00s, 1.00KB read\n\
                    \x20 Socket errors: connect 0, read 3, write 0, timeout 2\n  Non-2xx or 3xx responses: 4\n\
                    Requests/sec:  12345.67\nTransfer/sec:      1.00MB\n";
        let served = read_wrk(text).expect("it is whole");
        assert_eq!((served.requests_per_s, served.p50_ms, served.p99_ms, served.errors), (12345.67, 1.2, 0.85, 9));
        assert_eq!(milliseconds("2.00m"), Some(120_000.0));
    }
}
