//! The control socket: turns HTTP requests into [`Request`]s, hands them to the daemon, and sends its answers back.
//!
//! It decides nothing. Input is bounded and checked here, so that the daemon sees well-formed requests only: prefixes
//! and subjects in canonical form, texts short and printable, tunables within range.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use super::listen::{self, Limits};
use super::protocol::{Answer, Bulk, BulkDone, Deed, Refusal, Request, VERSION, Versioned};
use super::{bulk, route, validate};
use crate::exit::{Code, Failure};

/// One request on its way to the daemon, and where its answer goes.
pub type Call = (Request, oneshot::Sender<Result<Answer, Refusal>>);

/// Bytes of a request body.
const BODY_BYTES: usize = 16 * 1024;

/// How long a list's rules are waited for until they are in the kernel, and how often that is asked.
const ENTERED_WITHIN: Duration = Duration::from_secs(8);
const ENTERED_LOOK: Duration = Duration::from_millis(50);

/// The bound socket. Its file goes away with it.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    file: SocketFile,
}

/// A socket's file, and which one it was when it was made.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else's socket may stand there by now.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds the control socket, mode 0660; makes its folder if need be, and replaces a socket nobody answers on. Must be
/// called within a tokio runtime.
///
/// # Errors
/// If another daemon answers there, if something that is no socket stands there, or if the folder may not be written.
pub fn bind(path: &Path) -> Result<ControlSocket, Failure> {
    let fail = |doing: &str, error: &io::Error| {
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        let hint = if denied {
            "run as root, or choose a path of your own with --socket"
        } else {
            "choose another with --socket"
        };
        Failure::new(Code::Runtime, format!("control socket {}: {doing}: {error}", path.display()), hint)
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|error| fail("its folder cannot be made", &error))?;
    }
    ensure_free(path)?;
    // Bound under a name of its own and then moved: no moment with a looser mode, and a stale file goes in one step.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let fresh = path.with_file_name(name);
    let _ = fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh).map_err(|error| fail("cannot be bound", &error))?;
    let moved = fs::set_permissions(&fresh, fs::Permissions::from_mode(0o660))
        .and_then(|()| fs::rename(&fresh, path))
        .and_then(|()| fs::symlink_metadata(path));
    match moved {
        Ok(found) => Ok(ControlSocket { listener, file: SocketFile { path: path.to_owned(), inode: found.ino() } }),
        Err(error) => {
            let _ = fs::remove_file(&fresh);
            Err(fail("cannot be put in place", &error))
        }
    }
}

/// Makes sure that nothing alive or foreign stands at the path.
fn ensure_free(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(found) if !found.file_type().is_socket() => Err(Failure::new(
            Code::Runtime,
            format!("control socket {}: something that is not a socket stands there", path.display()),
            "move it away, or choose another path with --socket",
        )),
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                tracing::info!(socket = %path.display(), "replacing a socket that nobody answers on");
                Ok(())
            }
            Ok(_) => Err(Failure::new(
                Code::Runtime,
                format!("another sensor answers on {}", path.display()),
                "look at it with `sensor status`, stop it, or choose another path with --socket",
            )),
            Err(error) => Err(Failure::new(
                Code::Runtime,
                format!("control socket {}: cannot tell whether it is in use: {error}", path.display()),
                "run as the user that owns it, or choose another path with --socket",
            )),
        },
    }
}

/// Serves the control socket until dropped.
pub async fn serve(socket: ControlSocket, daemon: mpsc::Sender<Call>) {
    let ControlSocket { listener, file } = socket;
    listen::serve(listener, router(daemon), Limits::default()).await;
    drop(file);
}

/// The routes of [`route::ROUTES`].
fn router(daemon: mpsc::Sender<Call>) -> Router {
    Router::new()
        .route("/v1/status", get(|State(daemon): State<Daemon>| ask(daemon, Ok(Request::Status))))
        .route("/v1/sources", get(sources))
        .route("/v1/campaigns", get(campaigns))
        .route("/v1/connections", get(connections))
        .route("/v1/rules", get(rules))
        .route("/v1/explain", get(explain))
        .route("/v1/report", get(report))
        .route("/v1/judge", post(judge))
        .route("/v1/tunables", get(tunables))
        .route("/v1/allow", post(allow))
        .route("/v1/disallow", post(disallow))
        .route("/v1/block", post(block))
        .route("/v1/unblock", post(unblock))
        .route("/v1/bulk", post(bulk).layer(DefaultBodyLimit::max(bulk::MOST_BYTES * 2)))
        .route("/v1/set", post(set))
        .route("/v1/reload", post(reload))
        .fallback(|| async {
            refuse(
                StatusCode::NOT_FOUND,
                Refusal::new("not_found", "no such path", format!("there are {}", route::listed())),
            )
        })
        .method_not_allowed_fallback(|| async {
            let refusal =
                Refusal::new("invalid", "this path takes another method", format!("there are {}", route::listed()));
            refuse(StatusCode::METHOD_NOT_ALLOWED, refusal)
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(daemon)
}

type Daemon = mpsc::Sender<Call>;
type Asked<T> = Result<Query<T>, QueryRejection>;
type Sent = Result<Bytes, BytesRejection>;

async fn sources(State(daemon): State<Daemon>, query: Asked<route::SourcesQuery>) -> Response {
    let request = asked(query).map(|q| Request::Sources { limit: q.limit, sort: q.sort, tier: q.tier });
    ask(daemon, request).await
}

async fn campaigns(State(daemon): State<Daemon>, query: Asked<route::CampaignsQuery>) -> Response {
    ask(daemon, asked(query).map(|q| Request::Campaigns { all: q.all })).await
}

async fn connections(State(daemon): State<Daemon>, query: Asked<route::ConnectionsQuery>) -> Response {
    let request = asked(query).map(|q| Request::Connections { limit: q.limit, after: q.after, source: q.source });
    ask(daemon, request).await
}

async fn rules(State(daemon): State<Daemon>, query: Asked<route::RulesQuery>) -> Response {
    ask(daemon, asked(query).map(|q| Request::Rules { kind: q.kind, limit: q.limit, offset: q.offset })).await
}

async fn explain(State(daemon): State<Daemon>, query: Asked<route::ExplainQuery>) -> Response {
    ask(daemon, asked(query).map(|q| Request::Explain { subject: q.subject })).await
}

async fn report(State(daemon): State<Daemon>, query: Asked<route::ReportQuery>) -> Response {
    ask(daemon, asked(query).map(|q| Request::Report { id: q.id, unmasked: q.unmasked })).await
}

async fn judge(State(daemon): State<Daemon>, body: Sent) -> Response {
    let request = sent(body).map(|b: route::JudgeBody| Request::Judge { id: b.id, verdict: b.verdict, note: b.note });
    ask(daemon, request).await
}

async fn tunables(State(daemon): State<Daemon>, query: Asked<route::TunablesQuery>) -> Response {
    ask(daemon, asked(query).map(|q| Request::Get { name: q.name })).await
}

async fn allow(State(daemon): State<Daemon>, body: Sent) -> Response {
    let request =
        sent(body).map(|b: route::AllowBody| Request::Allow { prefix: b.prefix, note: b.note, ttl_s: b.ttl_s });
    ask(daemon, request).await
}

async fn disallow(State(daemon): State<Daemon>, body: Sent) -> Response {
    ask(daemon, sent(body).map(|b: route::PrefixBody| Request::Disallow { prefix: b.prefix })).await
}

async fn block(State(daemon): State<Daemon>, body: Sent) -> Response {
    let request = sent(body).map(|b: route::BlockBody| Request::Block {
        prefix: b.prefix,
        reason: b.reason,
        ttl_s: b.ttl_s,
        force: b.force,
    });
    ask(daemon, request).await
}

async fn unblock(State(daemon): State<Daemon>, body: Sent) -> Response {
    ask(daemon, sent(body).map(|b: route::PrefixBody| Request::Unblock { prefix: b.prefix })).await
}

/// A list goes to the daemon in parts: first each is checked, then each is carried out.
async fn bulk(State(daemon): State<Daemon>, body: Sent) -> Response {
    let list = match sent(body).map(Request::Bulk) {
        Ok(request) => validate::request(request).map_err(|refusal| (StatusCode::BAD_REQUEST, refusal)),
        Err(unread) => Err(unread),
    };
    let list = match list {
        Ok(Request::Bulk(list)) => list,
        Ok(_) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, stopping()),
        Err((status, refusal)) => return refuse(status, refusal),
    };
    match carry_out(&daemon, &list).await {
        Ok(done) => {
            let answer = Answer::Bulk(Box::new(done));
            axum::Json(Versioned { version: VERSION, answer }).into_response()
        }
        Err(refusal) => refuse(status_of(&refusal), refusal),
    }
}

async fn carry_out(daemon: &Daemon, list: &Bulk) -> Result<BulkDone, Refusal> {
    let checked = each_part(daemon, &Bulk { check: true, ..list.clone() }).await?;
    if checked.bad > 0 && !list.skip_bad {
        return Err(Refusal::new("refused", checked.complaint(), bulk::BAD_HINT));
    }
    if list.deed != Deed::Unblock && checked.applied > checked.room {
        let error = format!("{} new rules do not fit: there is room for {}", checked.applied, checked.room);
        return Err(Refusal::new("refused", error, "merge neighbours into shorter prefixes, or take others out first"));
    }
    if list.check {
        return Ok(checked);
    }
    let mut done = each_part(daemon, list).await?;
    // Done means in the kernel, as for one prefix, if that does not take all too long.
    let deadline = Instant::now() + ENTERED_WITHIN;
    while done.pending > 0 && Instant::now() < deadline {
        tokio::time::sleep(ENTERED_LOOK).await;
        let nothing = Bulk { lines: String::new(), ..list.clone() };
        let BulkDone { pending, refused, room, .. } = part(daemon, nothing).await?;
        (done.pending, done.refused, done.room) = (pending, refused, room);
    }
    Ok(done)
}

async fn each_part(daemon: &Daemon, list: &Bulk) -> Result<BulkDone, Refusal> {
    let mut done = BulkDone::new(list.deed);
    for one in bulk::parts(list) {
        done.add(part(daemon, one).await?);
    }
    Ok(done)
}

async fn part(daemon: &Daemon, list: Bulk) -> Result<BulkDone, Refusal> {
    let (reply, answer) = oneshot::channel();
    daemon.send((Request::Bulk(list), reply)).await.map_err(|_| stopping())?;
    let Answer::Bulk(done) = answer.await.map_err(|_| stopping())?? else {
        return Err(Refusal::new("failed", "the daemon answered something else", "look at its log"));
    };
    Ok(*done)
}

async fn set(State(daemon): State<Daemon>, body: Sent) -> Response {
    ask(daemon, sent(body).map(|b: route::SetBody| Request::Set { name: b.name, value: b.value })).await
}

async fn reload(State(daemon): State<Daemon>, body: Sent) -> Response {
    let request = match body {
        // `curl -X POST` sends no body at all.
        Ok(bytes) if bytes.is_empty() => Ok(Request::Reload),
        body => sent(body).map(|_: route::ReloadBody| Request::Reload),
    };
    ask(daemon, request).await
}

/// A request that could not be read: the HTTP status and what is wrong.
type Unread = (StatusCode, Refusal);

fn asked<T>(query: Asked<T>) -> Result<T, Unread> {
    query.map(|Query(query)| query).map_err(|rejection| {
        let refusal =
            Refusal::new("invalid", rejection.body_text(), "parameters and their values are in docs/reference/cli.md");
        (StatusCode::BAD_REQUEST, refusal)
    })
}

/// Reads a JSON body whatever its content type says: `curl -d` calls it a form.
fn sent<T: DeserializeOwned>(body: Sent) -> Result<T, Unread> {
    let bytes = body.map_err(|rejection| {
        let hint = format!("bodies have at most {BODY_BYTES} bytes");
        (rejection.status(), Refusal::new("invalid", rejection.body_text(), hint))
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let hint = r#"send one JSON object, for example {"prefix":"203.0.113.0/24"}"#;
        (StatusCode::BAD_REQUEST, Refusal::new("invalid", format!("the body cannot be read: {error}"), hint))
    })
}

/// Hands a request to the daemon and waits for its answer.
async fn ask(daemon: Daemon, request: Result<Request, Unread>) -> Response {
    let request = match request {
        Ok(request) => request,
        Err((status, refusal)) => return refuse(status, refusal),
    };
    let request = match validate::request(request) {
        Ok(request) => request,
        Err(refusal) => return refuse(StatusCode::BAD_REQUEST, refusal),
    };
    let (reply, answer) = oneshot::channel();
    if daemon.send((request, reply)).await.is_err() {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, stopping());
    }
    match answer.await {
        Ok(Ok(answer)) => axum::Json(Versioned { version: VERSION, answer }).into_response(),
        Ok(Err(refusal)) => refuse(status_of(&refusal), refusal),
        Err(_) => refuse(StatusCode::SERVICE_UNAVAILABLE, stopping()),
    }
}

fn stopping() -> Refusal {
    Refusal::new("failed", "the daemon is stopping", "start it again and repeat the command")
}

/// The HTTP status of a refusal by the daemon.
fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal.code.as_str() {
        "invalid" => StatusCode::BAD_REQUEST,
        "not_found" => StatusCode::NOT_FOUND,
        "refused" => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn refuse(status: StatusCode, refusal: Refusal) -> Response {
    (status, axum::Json(refusal)).into_response()
}
