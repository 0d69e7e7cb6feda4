//! Requests as method, path, query and body: the one table that server and client share.

use serde::{Deserialize, Serialize};

use super::protocol::{Request, SortKey};

/// Sources that `/v1/sources` answers with unless a limit is given.
pub const DEFAULT_SOURCES: usize = 20;
/// Most sources that one answer holds.
pub const MOST_SOURCES: usize = 10_000;
/// Life of an operator's block unless a time is given, seconds.
pub const DEFAULT_BLOCK_TTL_S: u64 = 3600;

/// Every route, for the answer to a path that does not exist.
pub const ROUTES: &str = "GET /v1/status /v1/sources /v1/campaigns /v1/rules /v1/explain /v1/tunables, \
                          POST /v1/allow /v1/disallow /v1/block /v1/unblock /v1/set /v1/reload";

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
pub(super) struct RulesQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainQuery {
    pub(super) subject: String,
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
        Request::Rules { kind } => get("rules", &RulesQuery { kind }),
        Request::Explain { subject } => get("explain", &ExplainQuery { subject }),
        Request::Get { name } => get("tunables", &TunablesQuery { name }),
        Request::Allow { prefix, note, ttl_s } => post("allow", &AllowBody { prefix, note, ttl_s }),
        Request::Disallow { prefix } => post("disallow", &PrefixBody { prefix }),
        Request::Block { prefix, reason, ttl_s, force } => post("block", &BlockBody { prefix, reason, ttl_s, force }),
        Request::Unblock { prefix } => post("unblock", &PrefixBody { prefix }),
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
