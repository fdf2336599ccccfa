use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::*;

struct Server {
    address: SocketAddr,
    state: AdminState,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let exporter = Arc::new(Exporter::new());
        let metrics = Arc::new(exporter.metrics());
        let state = AdminState::new(metrics, exporter, Arc::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, state.clone(), async {
            let _ = stopped.await;
        }));
        Self { address, state, stop, task }
    }

    async fn send(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let _ = stream.write_all(bytes).await; // a server that has heard enough may close before the end
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    async fn request(&self, method: &str, path: &str) -> (u16, String, String) {
        let text = self.send(format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
    }
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let server = Server::start().await;
    server.state.metrics.wills_published.add(3);
    let (status, head, body) = server.request("GET", "/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(body.contains("\ndunlin_wills_published_total 3\n"), "{body}");
    assert!(body.contains("\ndunlin_runtime_workers 1\n"), "{body}");
}

#[tokio::test]
async fn health_is_ok_while_readiness_waits_for_its_conditions() {
    let server = Server::start().await;
    let (storage, listeners) = (server.state.readiness.condition("storage"), server.state.readiness.condition("listeners"));
    listeners.set(true);
    assert_eq!(server.request("GET", "/healthz").await.0, 200);
    let (status, head, body) = server.request("GET", "/readyz").await;
    assert_eq!(status, 503);
    assert!(head.contains("content-type: application/json"), "{head}");
    let expected = json!({"code": "NOT_READY", "message": "waiting for: storage", "causes": ["storage"]});
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
    storage.set(true);
    assert_eq!(server.request("GET", "/readyz").await.0, 200);
}

#[tokio::test]
async fn the_index_names_the_endpoints() {
    let (status, _, body) = Server::start().await.request("GET", "/").await;
    assert_eq!(status, 200);
    assert!(["/metrics", "/healthz", "/readyz"].iter().all(|path| body.contains(path)), "{body}");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_in_json() {
    let server = Server::start().await;
    let (status, head, body) = server.request("GET", "/no/%22such").await;
    assert_eq!(status, 404);
    assert!(head.contains("application/json") && head.contains("no-store") && head.contains("nosniff"), "{head}");
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&problem["code"], &problem["message"]), (&json!("NOT_FOUND"), &json!("no such path: /no/%22such")));
    let (status, _, body) = server.request("DELETE", "/metrics").await;
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()["code"].clone()), (405, json!("METHOD_NOT_ALLOWED")));
}

#[tokio::test]
async fn a_head_that_is_too_large_or_nonsense_is_refused() {
    let server = Server::start().await;
    let large = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(2 * MAX_HEAD));
    assert!(server.send(large.as_bytes()).await.starts_with("HTTP/1.1 431"));
    assert!(server.send(b"\x10\x0c\0\x04MQTT\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    assert_eq!(server.request("GET", "/healthz").await.0, 200);
}

/// Time is virtual: it jumps when everything waits.
#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_cut_and_others_are_served_again() {
    let server = Server::start().await;
    let start = Instant::now();
    let mut silent = Vec::new();
    for number in 0..MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let begun = if number % 2 == 0 { "" } else { "GET / HT" };
        stream.write_all(begun.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    assert_eq!(server.request("GET", "/healthz").await.0, 200);
    assert!(start.elapsed() < HEAD_TIMEOUT * 2, "{:?} of virtual time", start.elapsed());
    let mut rest = Vec::new();
    let _ = silent[0].read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn stopping_closes_idle_connections_and_the_port() {
    let server = Server::start().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_ne!(idle.read(&mut [0; 1024]).await.unwrap(), 0);
    server.stop.send(()).unwrap();
    server.task.await.unwrap();
    assert_eq!(idle.read(&mut [0; 1024]).await.unwrap(), 0);
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let server = Server::start().await;
    let start = Instant::now();
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    idle.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(start.elapsed() < HEAD_TIMEOUT * 2, "{:?} of virtual time", start.elapsed());
}
