use dunlin::packet::{Connect, QoS};

use crate::authority::{Authority, broker, folder, write};
use crate::support::client::{Client, V5, V311, connect};
use crate::support::eventually;

const REQUIRED: &str = "client_ca = \"@DIR@/ca.pem\"\nclient_certificates = \"required\"";
const OPTIONAL: &str = "client_ca = \"@DIR@/ca.pem\"\nclient_certificates = \"optional\"";
const ACL: &str = "pattern readwrite %u/#\n";
const WITH_ACL: &str = "[auth]\nacl_file = \"@DIR@/acl\"";

/// Whether a client may publish to this user's topics.
fn is_user(client: &mut Client, name: &str) -> bool {
    client.publish(&format!("{name}/x"), "", QoS::AtLeastOnce) != 0x87
}

#[test]
fn a_required_certificate_is_demanded_and_verified() {
    let folder = folder();
    let authority = Authority::with_server(folder.path());
    let [device, stranger] = [authority.issue("device", &[], 2), Authority::new().issue("device", &[], 3)];
    let broker = broker(folder, REQUIRED, "");
    assert!(authority.caller(None).is_refused(broker.address()));
    assert!(authority.caller(Some(&stranger.issued)).is_refused(broker.address()));
    authority.caller(Some(&device.issued)).connect(broker.address(), V5, "device").ping();
    eventually("the failures are counted", || broker.metric("dunlin_handshake_failures_total{listener=\"tls\"}") == 2.0);
}

#[test]
fn an_optional_certificate_is_verified_where_there_is_one() {
    let folder = folder();
    write(folder.path(), "acl", &format!("topic readwrite anyone/#\n{ACL}"));
    let authority = Authority::with_server(folder.path());
    let [device, stranger] = [authority.issue("device-7", &[], 2), Authority::new().issue("device-7", &[], 3)];
    let broker = broker(folder, &format!("{OPTIONAL}\nidentity = \"common-name\""), WITH_ACL);
    let mut without = authority.caller(None).connect(broker.address(), V5, "without");
    assert!(is_user(&mut without, "anyone") && !is_user(&mut without, "device-7"));
    let mut with = authority.caller(Some(&device.issued)).connect(broker.address(), V5, "with");
    assert!(is_user(&mut with, "device-7"));
    assert!(authority.caller(Some(&stranger.issued)).is_refused(broker.address()));
}

/// The name in CONNECT does not count beside the certificate's.
#[test]
fn the_common_name_is_the_user_name() {
    let folder = folder();
    write(folder.path(), "acl", ACL);
    let authority = Authority::with_server(folder.path());
    let device = authority.issue("device-7", &["san-7.example"], 2);
    let mut broker = broker(folder, &format!("{REQUIRED}\nidentity = \"common-name\""), WITH_ACL);
    let stream = authority.caller(Some(&device.issued)).dial(broker.address(), "localhost").unwrap();
    let mut client = Client::over(stream, V5);
    client.log_in(Connect { username: Some("admin"), password: Some(b"any"), ..connect(V5) });
    assert!(is_user(&mut client, "device-7"));
    assert!(!is_user(&mut client, "admin") && !is_user(&mut client, "san-7.example"));
    let line = broker.wait_for_log("\"connected\"");
    assert!(line.contains("\"user\":\"device-7\""), "{line}");
}

#[test]
fn the_alternative_name_or_the_whole_subject_is_the_user_name() {
    for (identity, name) in [("san", "san-7.example"), ("subject", "CN=device-7")] {
        let folder = folder();
        write(folder.path(), "acl", ACL);
        let authority = Authority::with_server(folder.path());
        let device = authority.issue("device-7", &["san-7.example"], 2);
        let broker = broker(folder, &format!("{REQUIRED}\nidentity = \"{identity}\""), WITH_ACL);
        let mut client = authority.caller(Some(&device.issued)).connect(broker.address(), V5, "a");
        assert!(is_user(&mut client, name), "{identity}");
        assert!(!is_user(&mut client, "device-7"), "{identity}");
    }
}

/// Where nobody is let in without a name, a certificate that has none opens nothing.
#[test]
fn a_certificate_without_the_wanted_name_names_nobody() {
    let folder = folder();
    let authority = Authority::with_server(folder.path());
    let device = authority.issue("device-7", &[], 2);
    let broker = broker(folder, &format!("{REQUIRED}\nidentity = \"san\""), "[auth]\nallow_anonymous = false");
    let stream = authority.caller(Some(&device.issued)).dial(broker.address(), "localhost").unwrap();
    assert_eq!(Client::over(stream, V5).try_log_in(connect(V5)), 0x87);
}

/// A name that would be a wildcard in a pattern stands for itself or for nothing.
#[test]
fn a_hostile_common_name_widens_no_pattern() {
    for name in ["+", "#", "a/b", "device-7/#"] {
        let folder = folder();
        write(folder.path(), "acl", ACL);
        let authority = Authority::with_server(folder.path());
        let device = authority.issue(name, &[], 2);
        let broker = broker(folder, &format!("{REQUIRED}\nidentity = \"common-name\""), WITH_ACL);
        let mut client = authority.caller(Some(&device.issued)).connect(broker.address(), V5, "a");
        for topic in ["victim/x", "device-7/x", "a/b/x", "x"] {
            assert_eq!(client.publish(topic, "", QoS::AtLeastOnce), 0x87, "{name} to {topic}");
        }
    }
}

/// Where certificates name the users, one without a name is not taken for the anonymous client that a loopback listener lets in.
#[test]
fn a_certificate_without_a_usable_name_is_not_let_in_as_somebody_else() {
    let folder = folder();
    let authority = Authority::with_server(folder.path());
    let device = authority.issue("bad\nname", &[], 2);
    let broker = broker(folder, &format!("{REQUIRED}\nidentity = \"common-name\""), "");
    for version in [V311, V5] {
        let stream = authority.caller(Some(&device.issued)).dial(broker.address(), "localhost").unwrap();
        let request = Connect { client_id: "a", username: Some("ada"), ..connect(version) };
        assert_eq!(Client::over(stream, version).try_log_in(request), 0x87);
    }
}

#[test]
fn a_revoked_certificate_is_refused_and_others_are_not() {
    let folder = folder();
    let authority = Authority::with_server(folder.path());
    let [good, bad] = [authority.issue("good", &[], 2), authority.issue("bad", &[], 3)];
    authority.revoke(folder.path(), &[3]);
    let broker = broker(folder, &format!("{REQUIRED}\ncrl = [\"@DIR@/crl.pem\"]"), "");
    assert!(authority.caller(Some(&bad.issued)).is_refused(broker.address()));
    authority.caller(Some(&good.issued)).connect(broker.address(), V5, "good").ping();
}

/// One has done its handshake before its certificate was revoked, and says CONNECT after; the other is in since before there were lists.
#[test]
fn a_certificate_that_is_revoked_while_its_client_is_connected_lets_it_neither_in_nor_stay() {
    let folder = folder();
    let authority = Authority::with_server(folder.path());
    let config = folder.path().join("dunlin.toml");
    let [device, other] = [authority.issue("device", &[], 2), authority.issue("other", &[], 4)];
    authority.revoke(folder.path(), &[2]);
    let mut broker = broker(folder, REQUIRED, "");
    let mut inside = authority.caller(Some(&device.issued)).connect(broker.address(), V5, "inside");
    let mut good = authority.caller(Some(&other.issued)).connect(broker.address(), V5, "other");
    let [early, late] = [V311, V5].map(|version| {
        let stream = authority.caller(Some(&device.issued)).dial(broker.address(), "localhost").unwrap();
        (Client::over(stream, version), Connect { client_id: "late", ..connect(version) })
    });
    // In TLS 1.3 the client is done before the server is.
    let accepted = r#"dunlin_connections_total{listener="tls"}"#;
    eventually("the handshakes are done", || broker.metric(accepted) == 4.0);
    let text = std::fs::read_to_string(&config).unwrap();
    let list = config.with_file_name("crl.pem").display().to_string();
    std::fs::write(&config, text.replace("client_certificates", &format!("crl = [\"{list}\"]\nclient_certificates"))).unwrap();
    broker.signal("-HUP");
    broker.wait_for_log("config reloaded");
    inside.expect_disconnect(0x87);
    for (mut client, request) in [early, late] {
        assert_eq!(client.try_log_in(request), 0x87);
    }
    good.ping();
}

#[test]
fn sighup_reads_revocation_lists_again_and_those_whose_certificate_is_on_them_go() {
    let folder = folder();
    let authority = Authority::with_server(folder.path());
    let path = folder.path().to_owned();
    let device = authority.issue("device", &[], 2);
    authority.revoke(folder.path(), &[]);
    let mut broker = broker(folder, &format!("{REQUIRED}\ncrl = [\"@DIR@/crl.pem\"]"), "");
    let other = authority.issue("other", &[], 4);
    let mut revoked = authority.caller(Some(&device.issued)).connect(broker.address(), V5, "device");
    let mut good = authority.caller(Some(&other.issued)).connect(broker.address(), V5, "other");
    authority.revoke(&path, &[2]);
    broker.signal("-HUP");
    broker.wait_for_log("config reloaded");
    revoked.expect_disconnect(0x87);
    good.ping();
    assert!(authority.caller(Some(&device.issued)).is_refused(broker.address()));
}
