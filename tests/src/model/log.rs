//! The request log of the model server: one JSON line for each answered request, and counts by label.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use serde::Serialize;

/// One answered request.
#[derive(Debug, Serialize)]
pub(crate) struct Answered {
    /// Unix time of the request, in seconds.
    pub(crate) at: f64,
    /// The client as the server saw it.
    pub(crate) from: SocketAddr,
    /// Whether it came over TLS.
    pub(crate) encrypted: bool,
    /// Path of the request.
    pub(crate) path: &'static str,
    /// The label in the body's `user` field, empty when there is none.
    pub(crate) label: String,
    /// Tokens that were handed to the connection.
    pub(crate) tokens: u32,
    /// False when the client went away before the end.
    pub(crate) complete: bool,
}

/// Shared by all connections.
#[derive(Clone, Debug)]
pub(crate) struct RequestLog {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    /// Label up to its first dash, to (complete, broken off).
    counts: BTreeMap<String, (u64, u64)>,
}

impl RequestLog {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self { inner: Arc::new(Mutex::new(Inner { file, counts: BTreeMap::new() })) })
    }

    pub(crate) fn note(&self, answered: &Answered) {
        let kind = answered.label.split('-').next().unwrap_or_default().to_owned();
        let line = serde_json::to_string(answered).expect("plain data always serialises");
        let mut inner = self.inner.lock().expect("no holder panics");
        // A full disk must not stop the server; the counts stay right.
        let _ = writeln!(inner.file, "{line}");
        let (complete, broken) = inner.counts.entry(kind).or_default();
        *(if answered.complete { complete } else { broken }) += 1;
    }

    /// Counts by label, as JSON.
    pub(crate) fn counts(&self) -> serde_json::Value {
        let inner = self.inner.lock().expect("no holder panics");
        inner
            .counts
            .iter()
            .map(|(label, (complete, broken))| {
                (label.clone(), serde_json::json!({ "complete": complete, "broken_off": broken }))
            })
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}
