use std::process::{Command, Output};

use dunlin::packet::QoS;
use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::authority::{Authority, broker, folder, write};
use crate::support::client::{Client, V5, V311};
use crate::support::{Broker, eventually};

#[test]
fn clients_of_tls_1_2_and_1_3_talk_to_each_other() {
    let folder = folder();
    let authority = Authority::with_server(folder.path());
    let broker = broker(folder, "", "");
    let (old, new) = (authority.caller_of(None, &[&TLS12]), authority.caller_of(None, &[&TLS13]));
    let stream = old.dial(broker.address(), "localhost").unwrap();
    assert_eq!(stream.tls().protocol_version(), Some(ProtocolVersion::TLSv1_2));
    let mut publisher = old.connect(broker.address(), V311, "old");
    let mut subscriber = new.connect(broker.address(), V5, "new");
    subscriber.subscribe("a", QoS::AtLeastOnce);
    publisher.publish("a", "over TLS", QoS::AtLeastOnce);
    subscriber.expect_message("a", "over TLS");
}

/// Many TLS records, and more than the kernel's buffers hold.
#[test]
fn a_large_message_passes_tls_whole() {
    let folder = folder();
    let authority = Authority::with_server(folder.path());
    let broker = broker(folder, "", "[limits]\nmax_packet_size = \"8MiB\"\nmax_write_buffer = \"16MiB\"");
    let payload = "0123456789abcdef".repeat(6 << 16);
    let mut client = authority.caller(None).connect(broker.address(), V5, "both");
    client.subscribe("large", QoS::AtMostOnce);
    client.publish("large", &payload, QoS::AtMostOnce);
    client.expect_message("large", &payload);
}

#[test]
fn min_version_1_3_refuses_1_2() {
    let folder = folder();
    let authority = Authority::with_server(folder.path());
    let broker = broker(folder, "min_version = \"1.3\"", "");
    assert!(authority.caller_of(None, &[&TLS12]).is_refused(broker.address()));
    authority.caller_of(None, &[&TLS13]).connect(broker.address(), V5, "new").ping();
    eventually("the failure is counted", || broker.metric("dunlin_handshake_failures_total{listener=\"tls\"}") == 1.0);
}

#[test]
fn the_server_name_chooses_among_the_certificates() {
    let folder = folder();
    let authority = Authority::with_server(folder.path());
    let other = authority.issue("fleet", &["*.fleet.example"], 2);
    other.write(folder.path(), "other");
    let more = "[[listeners.tls.more]]\ncertificate = \"@DIR@/other.pem\"\nkey = \"@DIR@/other-key.pem\"";
    let broker = broker(folder, more, "");
    let caller = authority.caller(None);
    let presented = |name: &str| {
        let stream = caller.dial(broker.address(), name).unwrap();
        stream.tls().peer_certificates().unwrap() == other.issued.chain
    };
    assert!(presented("berlin.fleet.example"));
    assert!(!presented("localhost"));
    assert!(caller.dial(broker.address(), "unknown.example").is_err(), "the default certificate, which is not for this name");
}

#[test]
fn sighup_brings_in_new_certificates_and_drops_nobody() {
    let folder = folder();
    let authority = Authority::with_server(folder.path());
    let path = folder.path().to_owned();
    let mut broker = broker(folder, "", "");
    let mut before = authority.caller(None).connect(broker.address(), V5, "before");
    before.subscribe("a", QoS::AtMostOnce);

    let successor = Authority::with_server(&path);
    assert!(successor.caller(None).is_refused(broker.address()), "not before it was told to");
    broker.signal("-HUP");
    broker.wait_for_log("config reloaded");
    let mut after = successor.caller(None).connect(broker.address(), V5, "after");
    after.publish("a", "still there", QoS::AtMostOnce);
    before.expect_message("a", "still there");
    assert!(authority.caller(None).is_refused(broker.address()), "the old certificate is gone");
}

#[test]
fn a_certificate_that_cannot_be_read_again_leaves_the_old_one_in_service() {
    let folder = folder();
    let authority = Authority::with_server(folder.path());
    let path = folder.path().to_owned();
    let mut broker = broker(folder, "", "");
    write(&path, "server.pem", "half written");
    broker.signal("-HUP");
    let line = broker.wait_for_log("all stays as it was");
    assert!(line.contains("server.pem"), "{line}");
    authority.caller(None).connect(broker.address(), V5, "a").ping();
}

/// The pair is replaced as a whole: a key of another certificate is no reason to lose both.
#[test]
fn a_key_that_does_not_fit_leaves_the_old_pair_in_service() {
    let folder = folder();
    let authority = Authority::with_server(folder.path());
    let path = folder.path().to_owned();
    let mut broker = broker(folder, "", "");
    write(&path, "server-key.pem", &authority.issue("other", &["other"], 9).key);
    broker.signal("-HUP");
    let line = broker.wait_for_log("all stays as it was");
    assert!(line.contains("does not belong to certificate"), "{line}");
    authority.caller(None).connect(broker.address(), V5, "a").ping();
}

#[test]
fn who_does_not_speak_tls_is_closed_without_a_word_of_mqtt() {
    let folder = folder();
    Authority::with_server(folder.path());
    let mut broker = broker(folder, "", "");
    let mut client = Client::dial(broker.address(), V311);
    client.send_bytes(b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0");
    let line = broker.wait_for_log("handshake failed");
    assert!(line.contains("\"step\":\"tls\"") && line.contains("\"listener\":\"tls\""), "{line}");
    eventually("the failure is counted", || broker.metric("dunlin_handshake_failures_total{listener=\"tls\"}") == 1.0);
}

/// Runs the broker to its end.
fn run(folder: &tempfile::TempDir, certificate: &str, key: &str) -> Output {
    let path = folder.path().join("dunlin.toml");
    let config = format!(
        "[[listeners]]\nname = \"secure\"\nurl = \"tls://127.0.0.1:0\"\n[listeners.tls]\ncertificate = \"{certificate}\"\n\
         key = \"{key}\"\n"
    );
    std::fs::write(&path, config).unwrap();
    Command::new(env!("CARGO_BIN_EXE_dunlin"))
        .args(["--config", path.to_str().unwrap(), "--admin", "none", "--data-dir"])
        .arg(folder.path().join("data"))
        .output()
        .unwrap()
}

#[test]
fn a_certificate_file_that_is_missing_or_wrong_ends_the_start_with_78_and_is_named() {
    let folder = folder();
    let authority = Authority::with_server(folder.path());
    authority.issue("other", &["other"], 2).write(folder.path(), "other");
    write(folder.path(), "empty.pem", "");
    for (certificate, key, named) in [
        ("missing.pem", "server-key.pem", "missing.pem"),
        ("server.pem", "missing-key.pem", "missing-key.pem"),
        ("empty.pem", "server-key.pem", "empty.pem"),
        ("server.pem", "empty.pem", "empty.pem"),
        ("server.pem", "other-key.pem", "other-key.pem"),
    ] {
        let output = run(&folder, certificate, key);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{certificate} {key}: {told}");
        assert!(told.contains(&folder.path().join(named).display().to_string()), "{named} is not in: {told}");
    }
}

#[test]
fn certificates_of_dunlin_certs_serve_a_connection() {
    let folder = folder();
    let certs = folder.path().join("certs");
    let made = Command::new(env!("CARGO_BIN_EXE_dunlin")).arg("certs").arg(&certs).args(["--client", "sensor"]).output();
    assert!(made.unwrap().status.success());
    let acl = "user sensor\ntopic readwrite sensor/#\n";
    write(folder.path(), "acl", acl);
    let config = r#"
[auth]
acl_file = "@DIR@/acl"
[[listeners]]
name = "tls"
url = "tls://127.0.0.1:0"
[listeners.tls]
certificate = "@DIR@/certs/server.pem"
key = "@DIR@/certs/server-key.pem"
client_ca = "@DIR@/certs/ca.pem"
client_certificates = "required"
identity = "common-name"
"#;
    let broker = Broker::with_config_in(folder, config);
    let (ca, identity) = crate::authority::read_certs(&certs);
    for name in ["localhost", "127.0.0.1"] {
        let caller = crate::authority::Caller::new(ca.clone(), Some(&identity), rustls::ALL_VERSIONS);
        let mut client = Client::over(caller.dial(broker.address(), name).unwrap(), V5);
        client.log_in(crate::support::client::connect(V5));
        client.subscribe("sensor/a", QoS::AtLeastOnce);
        assert_eq!(client.publish("other", "x", QoS::AtLeastOnce), 0x87);
    }
}

/// Seconds since 1970 of the year 4096, when certificates of the test authority end, and of 2040.
const YEAR_4096: f64 = 67_090_118_400.0;
const YEAR_2040: f64 = 2_208_988_800.0;

#[test]
fn when_the_first_certificate_ends_is_told_and_follows_a_reload() {
    let folder = folder();
    let authority = Authority::with_server(folder.path());
    let path = folder.path().to_owned();
    let mut broker = broker(folder, "", "[[listeners]]\nname = \"plain\"\nurl = \"tcp://127.0.0.1:0\"");
    let told = |broker: &Broker, name: &str| {
        broker.metric(&format!("dunlin_certificate_expiry_timestamp_seconds{{listener=\"{name}\"}}"))
    };
    assert_eq!(told(&broker, "tls"), YEAR_4096);
    assert_eq!(told(&broker, "plain"), 0.0, "no series where there is no certificate");
    authority.issue_until("localhost", &["localhost"], 7, (2040, 1, 1)).write(&path, "server");
    broker.signal("-HUP");
    broker.wait_for_log("config reloaded");
    assert_eq!(told(&broker, "tls"), YEAR_2040);
    authority.issue_until("localhost", &["localhost"], 8, (2020, 1, 1)).write(&path, "server");
    broker.signal("-HUP");
    broker.wait_for_log("a certificate has expired");
}
