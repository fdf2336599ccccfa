use std::collections::BTreeSet;
use std::path::Path as FilePath;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::*;

async fn ask(path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = TowerToHyperService::new(router()).call(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn files_have_their_type_and_are_not_sent_twice() {
    for (path, content_type) in [
        ("/dashboard/", "text/html; charset=utf-8"),
        ("/dashboard/js/main.js", "text/javascript; charset=utf-8"),
        ("/dashboard/css/base.css", "text/css; charset=utf-8"),
        ("/dashboard/icon.svg", "image/svg+xml"),
    ] {
        let (status, headers, body) = ask(path, &[]).await;
        assert_eq!((status, headers[header::CONTENT_TYPE].to_str().unwrap()), (StatusCode::OK, content_type), "{path}");
        assert!(!body.is_empty());
        let etag = headers[header::ETAG].to_str().unwrap();
        for known in [etag.to_owned(), format!("\"other\", W/{etag}")] {
            let (status, _, body) = ask(path, &[("if-none-match", &known)]).await;
            assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""), "{path} {known}");
        }
        assert_eq!(ask(path, &[("if-none-match", "\"other\"")]).await.0, StatusCode::OK);
    }
    assert_eq!(ask("/dashboard", &[]).await.1[header::LOCATION], PATH);
    for path in ["/dashboard/none.js", "/dashboard/../Cargo.toml", "/dashboard/js/"] {
        assert_eq!(ask(path, &[]).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn the_page_may_do_no_more_than_it_needs() {
    let (_, headers, _) = ask(PATH, &[]).await;
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("require-trusted-types-for 'script'"), "{policy}");
    assert_eq!(headers["referrer-policy"], "no-referrer");
}

#[test]
fn every_file_of_the_folder_is_served() {
    let folder = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/dashboard");
    let mut there = BTreeSet::new();
    let mut folders = vec![folder.clone()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                there.insert(path.strip_prefix(&folder).unwrap().display().to_string());
            }
        }
    }
    // Not for browsers: this file, and the picture of the README.
    there.retain(|path| !["tests.rs", "screenshot.png", "screenshot-queue.png"].contains(&path.as_str()));
    assert_eq!(there, ASSETS.iter().map(|asset| asset.path.to_owned()).collect::<BTreeSet<_>>());
}

/// The page's own promise, where the policy cannot see it: text never becomes markup, and nothing comes from another host.
#[test]
fn no_file_makes_markup_of_text_or_names_another_host() {
    for asset in ASSETS.iter() {
        let text = std::str::from_utf8(asset.bytes).unwrap();
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage.setItem('key"] {
            assert!(!text.contains(word), "{}: {word}", asset.path);
        }
        let foreign = text.split("://").skip(1).filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric()));
        for rest in foreign {
            // The name of SVG, and the example of a listener.
            assert!(
                rest.starts_with("www.w3.org/") || rest.starts_with("127.0.0.1:8083/mqtt"),
                "{}: {}",
                asset.path,
                rest.lines().next().unwrap_or_default()
            );
        }
    }
}

#[test]
fn a_browser_is_told_from_a_script() {
    let accept = |kinds: &'static str| HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(kinds))]);
    assert!(is_browser(&accept("text/html,application/xhtml+xml,*/*;q=0.8")));
    assert!(!is_browser(&accept("*/*")) && !is_browser(&HeaderMap::new()));
}
