//! `/dashboard/`: a page for people over the HTTP API. Its files are part of the program and are served as they are; it asks nobody but
//! this broker.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use super::problem::Problem;

/// Where it is.
pub const PATH: &str = "/dashboard/";

/// A file of the page.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
    /// Changes with the bytes.
    etag: String,
}

macro_rules! assets {
    ($($path:literal)*) => { [$(($path, include_bytes!(concat!("dashboard/", $path)).as_slice())),*] };
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let files: Vec<(&str, &[u8])> = Vec::from(assets!(
        "index.html" "icon.svg"
        "css/base.css" "css/controls.css" "css/layout.css" "css/parts.css" "css/tables.css"
        "js/main.js"
        "js/lib/api.js" "js/lib/chart.js" "js/lib/dom.js" "js/lib/format.js" "js/lib/history.js" "js/lib/payload.js"
        "js/lib/poll.js" "js/lib/router.js" "js/lib/session.js" "js/lib/stream.js" "js/lib/theme.js"
        "js/mqtt/client.js" "js/mqtt/packets.js"
        "js/parts/actions.js" "js/parts/dialog.js" "js/parts/form.js" "js/parts/frame.js" "js/parts/list.js"
        "js/parts/queue_actions.js" "js/parts/states.js" "js/parts/table.js" "js/parts/tile.js"
        "js/pages/bans.js" "js/pages/bridges.js" "js/pages/client.js" "js/pages/clients.js" "js/pages/config.js" "js/pages/console.js"
        "js/pages/listeners.js" "js/pages/overview.js" "js/pages/queue.js" "js/pages/queues.js" "js/pages/retained.js"
        "js/pages/signin.js" "js/pages/topics.js" "js/pages/trace.js"
    ));
    files.into_iter().map(|(path, bytes)| Asset::new(path, bytes)).collect()
});

impl Asset {
    fn new(path: &'static str, bytes: &'static [u8]) -> Self {
        let content_type = match path.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "application/octet-stream",
        };
        let hash: String = Sha256::digest(bytes).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        Self { path, content_type, bytes, etag: format!("\"{hash}\"") }
    }

    fn answer(&self, request: &HeaderMap) -> Response {
        let known = request.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok()).unwrap_or_default();
        // Kept, and asked for anew each time: another version of the program is another page.
        let kept = [(header::ETAG, self.etag.as_str()), (header::CACHE_CONTROL, "no-cache")];
        let is_known = known == "*" || known.split(',').any(|known| known.trim().trim_start_matches("W/") == self.etag);
        let mut response = if is_known {
            (StatusCode::NOT_MODIFIED, kept).into_response()
        } else {
            (kept, [(header::CONTENT_TYPE, self.content_type)], self.bytes).into_response()
        };
        for (name, value) in HEADERS {
            response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response
    }
}

/// What a browser must not let happen to the page: that script or style comes from elsewhere or stands in the markup, that text becomes
/// markup (`trusted-types`), that another page frames it. WebSocket to any place is for the console: the broker's listener has another
/// port, and where it is from outside only the reader knows.
const HEADERS: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// The paths of the page.
pub fn router() -> Router {
    let to_it = || async { (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, PATH)]) };
    Router::new()
        .route("/dashboard", get(to_it))
        .route(PATH, get(|headers: HeaderMap| async move { file("index.html", &headers) }))
        .route("/dashboard/{*path}", get(|Path(path): Path<String>, headers: HeaderMap| async move { file(&path, &headers) }))
}

fn file(path: &str, headers: &HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.path == path) {
        Some(asset) => asset.answer(headers),
        None => Problem::not_found("no such file of the dashboard").into_response(),
    }
}

/// Whether the one who asks for `/` is a browser.
pub fn is_browser(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "text/html"))
}

#[cfg(test)]
mod tests;
