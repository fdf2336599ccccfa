//! As much of HTTP as the tests need.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::support::PATIENCE;

/// Speaks with one API.
#[derive(Clone, Debug)]
pub struct Http {
    pub address: SocketAddr,
    /// Sent with every request.
    pub headers: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The `code` of an error.
    pub fn code(&self) -> String {
        let json = self.json();
        assert!(json["message"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
        json["code"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }

    /// The `data` of a list.
    pub fn data(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["data"].as_array().unwrap_or_else(|| panic!("{self:?}")).clone()
    }

    /// One field of each entry of a list.
    pub fn texts(&self, field: &str) -> Vec<String> {
        self.data().iter().map(|entry| entry[field].as_str().unwrap_or_default().to_owned()).collect()
    }
}

impl Http {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, headers: Vec::new() }
    }

    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut http = self.clone();
        http.headers.retain(|(known, _)| known != name);
        http.headers.push((name.into(), value.into()));
        http
    }

    /// The request goes out, and the connection is left to be read.
    pub fn send(&self, method: &str, path: &str, body: Option<&str>) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("the admin port answers");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = format!("{method} /api/v1{path} HTTP/1.1\r\nConnection: close\r\n");
        if !self.headers.iter().any(|(name, _)| name == "Host") {
            text.push_str("Host: localhost\r\n");
        }
        if !self.headers.iter().any(|(name, _)| name == "Content-Type") && method != "GET" {
            text.push_str("Content-Type: application/json\r\n");
        }
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let body = body.unwrap_or_default();
        text.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        stream.write_all(text.as_bytes()).unwrap();
        let _ = stream.write_all(body.as_bytes()); // what has heard enough may close before the end
        stream
    }

    pub fn request(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        let mut stream = self.send(method, path, body);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).expect("the answer is text");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {path}: no answer: {text:?}"));
        let status = head[9..12].parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, None)
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path, Some(&body.to_string()))
    }

    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.request("PATCH", path, Some(&body.to_string()))
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.request("PUT", path, Some(&body.to_string()))
    }
}
