//! Direct users written in Rust (hyper over rustls): chat sessions, newcomers, a health checker, IPv6 and plaintext
//! users, and the newcomers who run curl. Seeded; runs until SIGTERM and lets requests under way finish.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::curl;
use super::plan::{Event, Group, Outcome, UserPlan};

struct World {
    plan: UserPlan,
    connector: TlsConnector,
    out: Mutex<File>,
    stop: watch::Receiver<bool>,
}

/// Plays the users of a plan file until SIGTERM.
///
/// # Errors
/// When the plan or the authority cannot be read.
pub fn run(plan: &Path) -> Result<()> {
    let text = std::fs::read(plan).with_context(|| format!("read {}", plan.display()))?;
    let plan: UserPlan = serde_json::from_slice(&text).context("parse the users' plan")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(play(plan))
}

async fn play(plan: UserPlan) -> Result<()> {
    let (stopper, stop) = watch::channel(false);
    let out = OpenOptions::new().create(true).append(true).open(&plan.out).context("open the event file")?;
    let connector = connector(&plan.ca)?;
    let world = Arc::new(World { plan, connector, out: Mutex::new(out), stop });
    let mut tasks = JoinSet::new();
    for (number, group) in world.plan.groups.iter().cloned().enumerate() {
        let group = Arc::new(group);
        let seed = world.plan.seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if group.arrivals_per_s > 0.0 {
            tasks.spawn(arrivals(Arc::clone(&world), group, seed));
        } else {
            for (n, address) in group.addresses.clone().into_iter().enumerate() {
                tasks.spawn(regular(Arc::clone(&world), Arc::clone(&group), address, seed.wrapping_add(n as u64)));
            }
        }
    }
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    terminate.recv().await;
    let _ = stopper.send(true);
    while let Some(ended) = tasks.join_next().await {
        ended.context("a user panicked")?;
    }
    Ok(())
}

fn connector(ca: &Path) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).with_context(|| format!("read {}", ca.display()))? {
        roots.add(certificate.context("parse the authority")?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("set up TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A user who comes back again and again.
async fn regular(world: Arc<World>, group: Arc<Group>, address: IpAddr, seed: u64) {
    let mut draw = fastrand::Rng::with_seed(seed);
    let first = draw.f64() * group.think_s.1;
    let mut stopped = world.pause(first).await;
    while !stopped {
        session(&world, &group, address, &mut draw).await;
        stopped = world.pause(between(&mut draw, group.think_s)).await;
    }
}

/// New users, each on an address of his own.
async fn arrivals(world: Arc<World>, group: Arc<Group>, seed: u64) {
    let mut draw = fastrand::Rng::with_seed(seed);
    let mut sessions = JoinSet::new();
    for address in group.addresses.clone() {
        let wait = -(1.0 - draw.f64()).ln() / group.arrivals_per_s;
        if world.pause(wait).await {
            break;
        }
        let (world, group, mut draw) = (Arc::clone(&world), Arc::clone(&group), draw.fork());
        sessions.spawn(async move { session(&world, &group, address, &mut draw).await });
    }
    while sessions.join_next().await.is_some() {}
}

async fn session(world: &World, group: &Group, address: IpAddr, draw: &mut fastrand::Rng) {
    let count = draw.u32(group.requests.0..=group.requests.1);
    let mut connection = None;
    for turn in 0..count {
        if turn > 0 && world.pause(between(draw, group.think_s)).await {
            return;
        }
        let at = unix_now();
        let limit = Duration::from_secs_f64(world.plan.timeout_s);
        let outcome = if group.kind == "curl" {
            curl::request(&world.plan, group, address, &body(group, turn + 1)).await
        } else {
            timeout(limit, world.ask(group, address, &mut connection, turn + 1))
                .await
                .map_err(|_| "timeout".to_owned())
                .and_then(|answered| answered.map_err(|error| error_name(&error)))
        };
        let failed = outcome.is_err();
        world.report(group, address, at, outcome.err());
        if failed {
            return;
        }
    }
}

impl World {
    /// Waits; true when the users are to leave.
    async fn pause(&self, seconds: f64) -> bool {
        let mut stop = self.stop.clone();
        let pause = Duration::from_secs_f64(seconds);
        tokio::select! {
            () = tokio::time::sleep(pause) => *self.stop.borrow(),
            _ = stop.wait_for(|stopped| *stopped) => true,
        }
    }

    /// One request on the session's connection, which is opened when there is none.
    async fn ask(
        &self,
        group: &Group,
        from: IpAddr,
        connection: &mut Option<SendRequest<Full<Bytes>>>,
        turns: u32,
    ) -> Result<()> {
        let sender = match connection {
            Some(sender) => sender,
            None => connection.insert(self.connect(group, from).await?),
        };
        sender.ready().await?;
        let host = ("host", self.plan.name.as_str());
        let request = if group.kind == "health" {
            Request::get("/health").header(host.0, host.1).body(Full::default())?
        } else {
            Request::post("/v1/chat/completions")
                .header(host.0, host.1)
                .header("content-type", "application/json")
                .body(Full::from(body(group, turns)))?
        };
        let answer = sender.send_request(request).await?;
        if !answer.status().is_success() {
            bail!("http {}", answer.status().as_u16());
        }
        let text = answer.into_body().collect().await?.to_bytes();
        if group.kind != "health" && !text.ends_with(b"data: [DONE]\n\n") {
            bail!("cut");
        }
        Ok(())
    }

    async fn connect(&self, group: &Group, from: IpAddr) -> Result<SendRequest<Full<Bytes>>> {
        let (socket, server) = if from.is_ipv6() {
            (TcpSocket::new_v6()?, self.plan.server_v6)
        } else {
            (TcpSocket::new_v4()?, self.plan.server)
        };
        socket.bind(SocketAddr::new(from, 0))?;
        socket.set_nodelay(true)?;
        let port = if group.tls { self.plan.tls_port } else { self.plan.plain_port };
        let stream = socket.connect(SocketAddr::new(server, port)).await?;
        if !group.tls {
            let (sender, driver) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(driver);
            return Ok(sender);
        }
        let name = ServerName::try_from(self.plan.name.clone()).context("name of the server")?;
        let stream = self.connector.connect(name, stream).await?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(sender)
    }

    fn report(&self, group: &Group, from: IpAddr, at: f64, error: Option<String>) {
        let event = Event {
            at,
            end: unix_now(),
            label: "benign".to_owned(),
            kind: group.kind.clone(),
            from,
            port: if group.tls { self.plan.tls_port } else { self.plan.plain_port },
            outcome: if error.is_some() { Outcome::Refused } else { Outcome::Served },
            error,
        };
        let line = serde_json::to_string(&event).expect("plain data always serialises") + "\n";
        // One write for each line: readers see whole lines.
        let _ = self.out.lock().expect("no holder panics").write_all(line.as_bytes());
    }
}

fn body(group: &Group, turns: u32) -> String {
    let message = serde_json::json!({"role": "user", "content": "How much does a token weigh? ".repeat(4)});
    serde_json::json!({
        "model": "lab-1", "stream": true, "max_tokens": group.max_tokens, "user": format!("benign-{}", group.kind),
        "messages": vec![message; turns as usize],
    })
    .to_string()
}

fn error_name(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let broken = ["reset", "closed", "broken pipe", "eof", "incomplete"];
    if broken.iter().any(|word| text.to_lowercase().contains(word)) { "reset".to_owned() } else { text }
}

fn between(draw: &mut fastrand::Rng, (low, high): (f64, f64)) -> f64 {
    low + (high - low) * draw.f64()
}

fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
