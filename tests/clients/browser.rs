//! A page in headless Chromium that speaks MQTT over WebSocket with MQTT.js.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use dunlin::packet::QoS;

use crate::program::{chromium, packages, run_script};
use crate::support::client::V5;
use crate::support::{Broker, Client};

#[test]
fn a_page_subscribes_publishes_and_sees_its_messages() {
    let Some(chromium) = chromium() else { return };
    let site = serve_page();
    // Only this page's origin is let in.
    let broker = broker_for(&format!("http://{site}"));
    let mut native = Client::connect(broker.listener("tcp"), V5, "native");
    native.retain("greeting", "kept for the page");
    native.subscribe("from/page", QoS::AtLeastOnce);
    run_script("browser.mjs", &[&chromium, &page_url(site, &broker), "done"]);
    for version in [4, 5] {
        let delivery = native.expect_message("from/page", &format!("hello in version {version}"));
        native.puback(delivery.packet_id().expect("it has QoS 1"));
    }
}

#[test]
fn a_page_of_an_origin_that_is_not_allowed_is_not_let_in() {
    let Some(chromium) = chromium() else { return };
    let site = serve_page();
    let broker = broker_for("https://dashboard.example.org");
    run_script("browser.mjs", &[&chromium, &page_url(site, &broker), "failed"]);
}

fn broker_for(origin: &str) -> Broker {
    Broker::with_config(&format!(
        "[[listeners]]\nname = 'tcp'\nurl = 'tcp://127.0.0.1:0'\n\
         [[listeners]]\nname = 'websocket'\nurl = 'ws://127.0.0.1:0/mqtt'\nallowed_origins = ['{origin}']\n"
    ))
}

fn page_url(site: SocketAddr, broker: &Broker) -> String {
    format!("http://{site}/?port={}", broker.listener("websocket").port())
}

/// Serves the page and MQTT.js to the browser on a port of its own, as long as this process lives.
fn serve_page() -> SocketAddr {
    let page = include_str!("page.html").to_owned();
    let library = std::fs::read_to_string(packages().join("mqtt/dist/mqtt.min.js")).expect("MQTT.js for browsers");
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A browser may open connections on which it asks for nothing.
            let (page, library) = (page.clone(), library.clone());
            thread::spawn(move || answer(&stream, &page, &library));
        }
    });
    address
}

/// One request, one answer; a browser that has gone away is no failure of the test.
fn answer(mut stream: &TcpStream, page: &str, library: &str) -> Option<()> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request = lines.next()?;
    lines.find(String::is_empty)?;
    let path = request.split(' ').nth(1)?;
    let (status, kind, body) = match path {
        "/mqtt.min.js" => ("200 OK", "text/javascript", library),
        _ if path.starts_with("/?") => ("200 OK", "text/html", page),
        _ => ("404 Not Found", "text/plain", ""),
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .ok()
}
