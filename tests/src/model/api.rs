//! The API of the model server: chat completions (streamed and whole), the model list, health and the lab's counters.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;

use super::log::{Answered, RequestLog};

/// Words that answers are made of.
const WORDS: [&str; 8] = ["the", "model", "weighs", "each", "token", "and", "moves", "on"];
/// Longest answer, whatever the client asks for.
const TOKENS_MAX: u32 = 4096;

/// Timing of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Before the first token: the prefill.
    pub prefill: Duration,
    /// Between tokens.
    pub token: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { prefill: Duration::from_millis(80), token: Duration::from_millis(15) }
    }
}

/// Who is at the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) from: SocketAddr,
    pub(crate) encrypted: bool,
}

#[derive(Clone)]
struct Shared {
    pace: Pace,
    log: RequestLog,
}

#[derive(Debug, Deserialize)]
struct ChatRequest {
    #[serde(default)]
    stream: bool,
    #[serde(default = "default_tokens")]
    max_tokens: u32,
    #[serde(default)]
    user: String,
    #[serde(default)]
    messages: Vec<serde_json::Value>,
}

fn default_tokens() -> u32 {
    16
}

pub(crate) fn router(pace: Pace, log: RequestLog) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/models", get(models))
        .route("/health", get(health))
        .route("/lab/counters", get(counters))
        .with_state(Shared { pace, log })
}

/// Writes the log line when the answer is over, however it ends.
struct Answer {
    log: RequestLog,
    line: Answered,
}

impl Answer {
    fn begin(shared: &Shared, peer: Peer, path: &'static str, label: String) -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let Peer { from, encrypted } = peer;
        Self {
            log: shared.log.clone(),
            line: Answered { at, from, encrypted, path, label, tokens: 0, complete: false },
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.log.note(&self.line);
    }
}

async fn chat(
    State(shared): State<Shared>,
    Extension(peer): Extension<Peer>,
    Json(request): Json<ChatRequest>,
) -> Response {
    let ChatRequest { stream, max_tokens, user, messages } = request;
    let tokens = max_tokens.clamp(1, TOKENS_MAX);
    let mut answer = Answer::begin(&shared, peer, "/v1/chat/completions", user);
    // A longer conversation takes longer to read, as in a real prefill.
    let turns = u32::try_from(messages.len()).unwrap_or(1).clamp(1, 16);
    tokio::time::sleep(shared.pace.prefill * (7 + turns) / 8).await;
    if stream {
        return streamed(answer, tokens, shared.pace).into_response();
    }
    tokio::time::sleep(shared.pace.token * tokens).await;
    let text: Vec<&str> = (0..tokens).map(word).collect();
    answer.line.tokens = tokens;
    answer.line.complete = true;
    Json(json!({
        "id": "chatcmpl-lab", "object": "chat.completion", "model": "lab-1",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text.join(" ")}}],
        "usage": {"completion_tokens": tokens},
    }))
    .into_response()
}

fn word(n: u32) -> &'static str {
    WORDS[n as usize % WORDS.len()]
}

fn streamed(answer: Answer, tokens: u32, pace: Pace) -> Sse<impl stream::Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::unfold((answer, 0), move |(mut answer, n)| async move {
        if answer.line.complete {
            return None;
        }
        if n == tokens {
            answer.line.complete = true;
            return Some((Ok(Event::default().data("[DONE]")), (answer, n)));
        }
        if n > 0 {
            tokio::time::sleep(pace.token).await;
        }
        answer.line.tokens = n + 1;
        let chunk = json!({
            "id": "chatcmpl-lab", "object": "chat.completion.chunk", "model": "lab-1",
            "choices": [{"index": 0, "delta": {"content": format!("{} ", word(n))}, "finish_reason": null}],
        });
        Some((Ok(Event::default().data(chunk.to_string())), (answer, n + 1)))
    }))
}

async fn models(State(shared): State<Shared>, Extension(peer): Extension<Peer>) -> Response {
    let mut answer = Answer::begin(&shared, peer, "/v1/models", String::new());
    answer.line.complete = true;
    Json(json!({"object": "list", "data": [{"id": "lab-1", "object": "model", "owned_by": "lab"}]})).into_response()
}

async fn health(State(shared): State<Shared>, Extension(peer): Extension<Peer>) -> &'static str {
    let mut answer = Answer::begin(&shared, peer, "/health", String::new());
    answer.line.complete = true;
    "ok\n"
}

async fn counters(State(shared): State<Shared>) -> Json<serde_json::Value> {
    Json(shared.log.counts())
}
