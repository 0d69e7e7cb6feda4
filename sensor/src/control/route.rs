//! Requests as method, path, query and body: the one table that server and client share.

use serde::{Deserialize, Serialize};

use super::protocol::{Request, SortKey, Verdict};

/// Sources that `/v1/sources` answers with unless a limit is given.
pub const DEFAULT_SOURCES: usize = 20;
/// Most sources that one answer holds.
pub const MOST_SOURCES: usize = 10_000;
/// Rules that `/v1/rules` answers with unless a limit is given.
pub const DEFAULT_RULES: usize = 100;
/// Most rules that one answer holds.
pub const MOST_RULES: usize = 10_000;
/// Connections that `/v1/connections` answers with unless a limit is given.
pub const DEFAULT_CONNECTIONS: usize = 20;
/// Most connections that one answer holds.
pub const MOST_CONNECTIONS: usize = 10_000;
/// Life of an operator's block unless a time is given, seconds.
pub const DEFAULT_BLOCK_TTL_S: u64 = 3600;

/// One route of the control socket.
#[derive(Debug)]
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    /// Query parameters of a `GET`, fields of a `POST`'s JSON object; those in brackets may be left out.
    pub fields: &'static str,
    pub meaning: &'static str,
}

const fn route(method: &'static str, path: &'static str, fields: &'static str, meaning: &'static str) -> Route {
    Route { method, path, fields, meaning }
}

/// Every route, in the order of the reference page.
pub const ROUTES: &[Route] = &[
    route("GET", "/v1/status", "", "How the sensor is."),
    route("GET", "/v1/sources", "[limit] [sort] [tier]", "Sources with the most traffic."),
    route("GET", "/v1/campaigns", "[all]", "Campaigns; `all=true` with the closed ones."),
    route(
        "GET",
        "/v1/connections",
        "[limit] [after] [source]",
        "Evidence on the latest connections; `after` is the `next` of an earlier answer, `source` a prefix.",
    ),
    route(
        "GET",
        "/v1/rules",
        "[kind] [limit] [offset]",
        "Rules in force: `allow`, `deny` or `class`; `offset` leaves out the first.",
    ),
    route("GET", "/v1/explain", "subject", "What is decided about an address, a prefix or a campaign."),
    route(
        "GET",
        "/v1/report",
        "id [unmasked]",
        "Everything about a campaign; addresses are cut to networks unless told.",
    ),
    route("POST", "/v1/judge", "id verdict [note]", "`confirm` a campaign as an attack, or `dismiss` it as ordinary."),
    route("GET", "/v1/tunables", "[name]", "Tunables in force."),
    route("POST", "/v1/allow", "prefix [note] [ttl_s]", "Never refuse a prefix."),
    route("POST", "/v1/disallow", "prefix", "Take an allow back."),
    route("POST", "/v1/block", "prefix [reason] [ttl_s] [force]", "Refuse a prefix; for an hour unless told."),
    route("POST", "/v1/unblock", "prefix", "Take a refusal back."),
    route(
        "POST",
        "/v1/bulk",
        "deed lines [reason] [ttl_s] [force] [skip_bad] [check] [first_line]",
        "`allow`, `block` or `unblock` each prefix of a text, one a line; all of them, or none if a line is bad.",
    ),
    route("POST", "/v1/set", "name value", "Change a tunable."),
    route("POST", "/v1/reload", "", "Read the configuration file again."),
];

/// The routes in one line, for answers to requests that meet none.
pub(super) fn listed() -> String {
    let each = ROUTES.iter().map(|route| format!("{} {}", route.method, route.path));
    each.collect::<Vec<_>>().join(", ")
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourcesQuery {
    #[serde(default = "default_sources")]
    pub(super) limit: usize,
    #[serde(default)]
    pub(super) sort: SortKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tier: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CampaignsQuery {
    #[serde(default)]
    pub(super) all: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectionsQuery {
    #[serde(default = "default_connections")]
    pub(super) limit: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RulesQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<String>,
    #[serde(default = "default_rules")]
    pub(super) limit: usize,
    #[serde(default)]
    pub(super) offset: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainQuery {
    pub(super) subject: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportQuery {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) unmasked: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JudgeBody {
    pub(super) id: u64,
    pub(super) verdict: Verdict,
    #[serde(default)]
    pub(super) note: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TunablesQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AllowBody {
    pub(super) prefix: String,
    #[serde(default)]
    pub(super) note: String,
    #[serde(default)]
    pub(super) ttl_s: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PrefixBody {
    pub(super) prefix: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BlockBody {
    pub(super) prefix: String,
    #[serde(default)]
    pub(super) reason: String,
    #[serde(default = "default_block_ttl")]
    pub(super) ttl_s: u64,
    #[serde(default)]
    pub(super) force: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SetBody {
    pub(super) name: String,
    pub(super) value: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReloadBody {}

const fn default_sources() -> usize {
    DEFAULT_SOURCES
}

const fn default_connections() -> usize {
    DEFAULT_CONNECTIONS
}

const fn default_rules() -> usize {
    DEFAULT_RULES
}

const fn default_block_ttl() -> u64 {
    DEFAULT_BLOCK_TTL_S
}

/// A request on its way: what the client sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// Path and query.
    pub(super) target: String,
    /// JSON of a `POST`; `None`: a `GET`.
    pub(super) body: Option<Vec<u8>>,
}

/// How a request is sent.
pub(super) fn call(request: &Request) -> Call {
    match request.clone() {
        Request::Status => get("status", &()),
        Request::Sources { limit, sort, tier } => get("sources", &SourcesQuery { limit, sort, tier }),
        Request::Campaigns { all } => get("campaigns", &CampaignsQuery { all }),
        Request::Connections { limit, after, source } => get("connections", &ConnectionsQuery { limit, after, source }),
        Request::Rules { kind, limit, offset } => get("rules", &RulesQuery { kind, limit, offset }),
        Request::Explain { subject } => get("explain", &ExplainQuery { subject }),
        Request::Report { id, unmasked } => get("report", &ReportQuery { id, unmasked }),
        Request::Judge { id, verdict, note } => post("judge", &JudgeBody { id, verdict, note }),
        Request::Get { name } => get("tunables", &TunablesQuery { name }),
        Request::Allow { prefix, note, ttl_s } => post("allow", &AllowBody { prefix, note, ttl_s }),
        Request::Disallow { prefix } => post("disallow", &PrefixBody { prefix }),
        Request::Block { prefix, reason, ttl_s, force } => post("block", &BlockBody { prefix, reason, ttl_s, force }),
        Request::Unblock { prefix } => post("unblock", &PrefixBody { prefix }),
        Request::Bulk(bulk) => post("bulk", &bulk),
        Request::Set { name, value } => post("set", &SetBody { name, value }),
        Request::Reload => post("reload", &ReloadBody {}),
    }
}

fn get(path: &str, query: &impl Serialize) -> Call {
    let query = serde_urlencoded::to_string(query).expect("queries are flat structs of plain values");
    let mark = if query.is_empty() { "" } else { "?" };
    Call { target: format!("/v1/{path}{mark}{query}"), body: None }
}

fn post(path: &str, body: &impl Serialize) -> Call {
    let body = serde_json::to_vec(body).expect("bodies are structs of plain values");
    Call { target: format!("/v1/{path}"), body: Some(body) }
}
