//! A small HTTP server, with or without TLS, that answers as a test wants it to, and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::crypto::ring;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::authority::Issued;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub authorization: Option<String>,
    /// The body, if it is JSON.
    pub body: Value,
}

/// Status and body; the body of a redirect is its `Location`. `None` says nothing and keeps the connection open.
pub type Answer = Option<(u16, String)>;

type Answerer = Box<dyn Fn(&Asked) -> Answer + Send>;

/// Listens for as long as the test runs.
pub struct Server {
    pub address: SocketAddr,
    scheme: &'static str,
    connections: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<Asked>>>,
    answer: Arc<Mutex<Answerer>>,
}

pub fn json(body: Value) -> Answer {
    Some((200, body.to_string()))
}

impl Server {
    pub fn start(answer: impl Fn(&Asked) -> Answer + Send + 'static) -> Self {
        Self::start_as(None, answer)
    }

    /// One that shows this certificate.
    pub fn start_tls(identity: &Issued, answer: impl Fn(&Asked) -> Answer + Send + 'static) -> Self {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain.clone(), identity.key.clone_key())
            .unwrap();
        Self::start_as(Some(Arc::new(config)), answer)
    }

    fn start_as(tls: Option<Arc<ServerConfig>>, answer: impl Fn(&Asked) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let connections: Arc<AtomicUsize> = Arc::default();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let answer: Arc<Mutex<Answerer>> = Arc::new(Mutex::new(Box::new(answer)));
        let (count, log, answers) = (connections.clone(), asked.clone(), answer.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let (log, answers, tls) = (log.clone(), answers.clone(), tls.clone());
                thread::spawn(move || match tls {
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        serve(StreamOwned::new(connection, stream), &log, &answers);
                    }
                    None => serve(stream, &log, &answers),
                });
            }
        });
        Self { address, scheme, connections, asked, answer }
    }

    /// From now on it answers like this.
    pub fn answer(&self, answer: impl Fn(&Asked) -> Answer + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// How often somebody has connected, with or without a question.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// What it was asked until now.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(stream: impl Read + Write, log: &Mutex<Vec<Asked>>, answers: &Mutex<Answerer>) {
    let mut stream = BufReader::new(stream);
    while let Some(asked) = read(&mut stream) {
        log.lock().unwrap().push(asked.clone());
        let answer = (answers.lock().unwrap())(&asked);
        let Some((status, body)) = answer else { continue };
        let location = if (300..400).contains(&status) { format!("Location: {body}\r\n") } else { String::new() };
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status} Status\r\n{location}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
        let writer = stream.get_mut();
        let written = writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(body.as_bytes()));
        if written.and_then(|()| writer.flush()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    let path = (reader.read_line(&mut line).ok()? > 0).then(|| line.split(' ').nth(1).map(String::from))??;
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { path, authorization, body: serde_json::from_slice(&body).unwrap_or_default() })
}
