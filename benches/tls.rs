//! What rustls itself costs a broker for each message: its bytes decrypted as they come in and encrypted as they go out, without sockets and
//! without a broker. Beside the difference of TLS and TCP in `dunlin bench compare benches/wires.toml` that tells what is ours.
//! `cargo bench --bench tls`

use std::cell::RefCell;
use std::io::{Read, Write};
use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, ServerConfig, ServerConnection, SideData};

/// A PUBLISH of 64 bytes to a topic like the load tester's.
const PACKET: usize = 84;

fn main() {
    divan::main();
}

/// The two ends of a connection of TLS 1.3 whose handshake is done.
struct Ends {
    client: ClientConnection,
    server: ServerConnection,
    /// What the server has read, and what it has written.
    plain: Vec<u8>,
    cipher: Vec<u8>,
}

impl Ends {
    fn new() -> Self {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate can be made");
        let certificate = certified.cert.der().clone();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key of its own making");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = &[&rustls::version::TLS13];
        let server =
            ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).expect("ring has it");
        let server =
            server.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).expect("they belong together");
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("it is a certificate");
        let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("ring has it");
        let client = client.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("it is a name");
        let client = ClientConnection::new(Arc::new(client), name).expect("the config is whole");
        let server = ServerConnection::new(Arc::new(server)).expect("the config is whole");
        let mut ends = Self { client, server, plain: vec![0; 64 * 1024], cipher: Vec::new() };
        ends.shake_hands();
        ends
    }

    fn shake_hands(&mut self) {
        while self.client.is_handshaking() || self.server.is_handshaking() || self.server.wants_write() {
            pass(&mut self.client, &mut self.server);
            pass(&mut self.server, &mut self.client);
        }
    }

    fn encrypted(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.client.writer().write_all(plain).expect("no more than its buffer takes");
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).expect("memory takes it");
        }
        bytes
    }

    /// What a broker's end does about bytes that came in and go out again.
    fn through(&mut self, bytes: &[u8], plain: &[u8]) {
        let (mut rest, mut read) = (bytes, 0);
        while !rest.is_empty() {
            self.server.read_tls(&mut rest).expect("memory gives it");
            self.server.process_new_packets().expect("what the client has encrypted");
            // `WouldBlock` once there is no more.
            while let Ok(count) = self.server.reader().read(&mut self.plain[read..]) {
                read += count;
            }
        }
        assert_eq!(read, plain.len());
        self.cipher.clear();
        self.server.writer().write_all(plain).expect("no more than its buffer takes");
        while self.server.wants_write() {
            self.server.write_tls(&mut self.cipher).expect("memory takes it");
        }
        black_box(&self.cipher);
    }
}

/// What one end has to say goes to the other.
fn pass<A: SideData, B: SideData>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>) {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).expect("memory takes it");
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        to.read_tls(&mut rest).expect("memory gives it");
        to.process_new_packets().expect("both speak TLS");
    }
}

/// So many messages in one read and one write: 1 for a trickle, hundreds for a broker that is busy.
#[divan::bench(args = [1, 10, 100, 190])]
fn in_and_out(bencher: Bencher<'_, '_>, messages: usize) {
    let (ends, plain) = (RefCell::new(Ends::new()), vec![7; messages * PACKET]);
    let encrypted = || ends.borrow_mut().encrypted(&plain);
    bencher
        .counter(ItemsCount::new(messages))
        .with_inputs(encrypted)
        .bench_local_refs(|bytes| ends.borrow_mut().through(bytes, &plain));
}

/// One message of 16 KiB.
#[divan::bench]
fn large_in_and_out(bencher: Bencher<'_, '_>) {
    let (ends, plain) = (RefCell::new(Ends::new()), vec![7; 16 * 1024 + 20]);
    let encrypted = || ends.borrow_mut().encrypted(&plain);
    bencher.with_inputs(encrypted).bench_local_refs(|bytes| ends.borrow_mut().through(bytes, &plain));
}
