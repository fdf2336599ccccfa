//! 3.15 AUTH and 4.12 Enhanced authentication, with SCRAM-SHA-256 (RFC 5802, RFC 7677) and a client of it that is our own.

use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use dunlin::packet::{Auth, AuthReason, Connect, ConnectProperties, Packet, QoS};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::steps::will;
use crate::support::client::{V5, connect};
use crate::support::{Broker, Client};
use crate::wire::{packet, publish, section, subscribe, text_property};

const METHOD: &str = "SCRAM-SHA-256";
const CONFIG: &str = "[[listeners]]\nname = \"a\"\nurl = \"tcp://127.0.0.1:0\"\n[auth]\nallow_anonymous = true\n\
                      password_file = \"@DIR@/users\"\n";

/// A broker that knows `alice` and `bob` by SCRAM and `carol` by another hash; the password is the name backwards.
fn broker() -> Broker {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (user, password, kind) in
        [("alice", "ecila", Some("--scram")), ("bob", "bob", Some("--scram")), ("carol", "lorac", None)]
    {
        let mut passwd = Command::new(env!("CARGO_BIN_EXE_dunlin"))
            .args(["passwd", "--stdin"])
            .args(kind)
            .arg(folder.path().join("users"))
            .arg(user)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dunlin passwd starts");
        passwd.stdin.take().expect("a pipe").write_all(password.as_bytes()).expect("the password is taken");
        assert!(passwd.wait().expect("dunlin passwd ends").success());
    }
    Broker::with_config_in(folder, CONFIG)
}

/// The client's side of one exchange.
struct Scram {
    bare: String,
    password: &'static str,
}

/// The client's last message, and the server's that must follow it.
struct Proof {
    message: Vec<u8>,
    server_final: Vec<u8>,
}

impl Scram {
    fn new(user: &str, password: &'static str) -> Self {
        let nonce = BASE64.encode(rand::random::<[u8; 18]>());
        Self { bare: format!("n={user},r={nonce}"), password }
    }

    fn first(&self) -> Vec<u8> {
        format!("n,,{}", self.bare).into_bytes()
    }

    /// Answers `r=NONCE,s=SALT,i=ITERATIONS`.
    fn prove(&self, challenge: &[u8]) -> Proof {
        let challenge = std::str::from_utf8(challenge).expect("text");
        let fields: Vec<&str> = challenge.split(',').collect();
        let [nonce, salt, iterations] = fields[..] else { panic!("no challenge: {challenge}") };
        assert!(nonce.starts_with(&self.bare[self.bare.find("r=").expect("a nonce")..]), "{challenge}");
        let salt = BASE64.decode(&salt[2..]).expect("a salt");
        let iterations: u32 = iterations[2..].parse().expect("a number");
        assert!(iterations >= 4096, "RFC 7677, 4");
        let salted: [u8; 32] = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(self.password.as_bytes(), &salt, iterations);
        let client_key = hmac(&salted, b"Client Key");
        let without_proof = format!("c=biws,{nonce}");
        let signed = format!("{},{challenge},{without_proof}", self.bare);
        let signature = hmac(&Sha256::digest(client_key), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, signature)| key ^ signature).collect();
        let server_signature = hmac(&hmac(&salted, b"Server Key"), signed.as_bytes());
        Proof {
            message: format!("{without_proof},p={}", BASE64.encode(proof)).into_bytes(),
            server_final: format!("v={}", BASE64.encode(server_signature)).into_bytes(),
        }
    }
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    hmac.update(message);
    hmac.finalize().into_bytes().into()
}

/// A CONNECT that begins an exchange.
fn connect_by<'a>(client_id: &'a str, data: &'a [u8]) -> Connect<'a> {
    let properties = ConnectProperties {
        authentication_method: Some(METHOD),
        authentication_data: Some(data),
        session_expiry_interval: 100,
        ..Default::default()
    };
    Connect { client_id, clean_start: false, properties, ..connect(V5) }
}

fn auth(reason: AuthReason, method: Option<&str>, data: &[u8]) -> Vec<u8> {
    let properties = [
        method.map(|method| text_property(0x15, method)).unwrap_or_default(),
        if data.is_empty() { Vec::new() } else { text_property(0x16, data) },
    ];
    packet(0xF0, &[&[reason as u8], &section(&properties.concat())])
}

fn go_on(data: &[u8]) -> Vec<u8> {
    auth(AuthReason::ContinueAuthentication, Some(METHOD), data)
}

fn anew(scram: &Scram) -> Vec<u8> {
    auth(AuthReason::ReAuthenticate, Some(METHOD), &scram.first())
}

/// The next packet is an AUTH of the method with this reason; its data.
fn expect_auth(client: &mut Client, reason: AuthReason) -> Vec<u8> {
    client.expect("AUTH", |packet| match packet {
        Packet::Auth(Auth { reason: told, authentication_method: Some(METHOD), authentication_data: Some(data), .. })
            if *told == reason =>
        {
            Some(data.to_vec())
        }
        _ => None,
    })
}

/// Begins to connect and takes the challenge.
fn challenged(broker: &Broker, client_id: &str, scram: &Scram) -> (Client, Proof) {
    challenged_with(broker, connect_by(client_id, &scram.first()), scram)
}

fn challenged_with(broker: &Broker, connect: Connect<'_>, scram: &Scram) -> (Client, Proof) {
    let mut client = Client::dial(broker.address(), V5);
    client.send(&Packet::Connect(connect));
    let challenge = expect_auth(&mut client, AuthReason::ContinueAuthentication);
    let proof = scram.prove(&challenge);
    (client, proof)
}

/// The next packet is a CONNACK with this reason, and if it refuses the last.
fn expect_connack(client: &mut Client, reason: u8) {
    client.expect("CONNACK", |packet| matches!(packet, Packet::ConnAck(ack) if ack.reason as u8 == reason).then_some(()));
    if reason >= 0x80 {
        assert!(client.rest().is_empty());
    }
}

/// A client that is let in.
fn let_in(broker: &Broker, client_id: &str, user: &str, password: &'static str) -> Client {
    let (mut client, proof) = challenged(broker, client_id, &Scram::new(user, password));
    client.send_bytes(&go_on(&proof.message));
    expect_connack(&mut client, 0);
    client
}

/// [MQTT-4.12.0-2] to [MQTT-4.12.0-5]: and the server shows that it knows the user, in the same method.
#[test]
fn a_client_that_answers_the_challenge_is_let_in_and_the_server_proves_itself() {
    let broker = broker();
    let (mut client, proof) = challenged(&broker, "alice1", &Scram::new("alice", "ecila"));
    client.send_bytes(&go_on(&proof.message));
    client.expect("CONNACK", |packet| match packet {
        Packet::ConnAck(ack) if !ack.reason.is_error() => {
            assert_eq!(ack.properties.authentication_method, Some(METHOD));
            assert_eq!(ack.properties.authentication_data, Some(&proof.server_final[..]));
            Some(())
        }
        _ => None,
    });
    client.subscribe("a", QoS::AtMostOnce);
    client.publish("a", "x", QoS::AtMostOnce);
    client.expect_message("a", "x");
}

/// [MQTT-4.12.0-4], 4.12: an unknown user, a wrong password and one whose hash is not for SCRAM all look the same.
#[test]
fn a_client_that_cannot_prove_itself_is_refused_after_the_challenge() {
    let broker = broker();
    for (user, password) in [("alice", "alice"), ("nobody", "ecila"), ("carol", "lorac"), ("alice", "")] {
        let (mut client, proof) = challenged(&broker, "liar", &Scram::new(user, password));
        client.send_bytes(&go_on(&proof.message));
        expect_connack(&mut client, 0x87);
    }
}

/// The salt of a user is always the same, also where the user is made up.
#[test]
fn an_unknown_user_is_challenged_like_a_known_one() {
    let broker = broker();
    for user in ["alice", "nobody"] {
        let mut salts = Vec::new();
        for _ in 0..2 {
            let mut client = Client::dial(broker.address(), V5);
            client.send(&Packet::Connect(connect_by("curious", &Scram::new(user, "guess").first())));
            let challenge = String::from_utf8(expect_auth(&mut client, AuthReason::ContinueAuthentication)).expect("text");
            salts.push(challenge.split_once(",s=").expect("a salt").1.to_owned());
        }
        assert_eq!(salts[0], salts[1], "{user}");
    }
}

/// RFC 5802, 5: what was proven once proves nothing in another exchange.
#[test]
fn a_proof_of_another_exchange_is_refused() {
    let broker = broker();
    let scram = Scram::new("alice", "ecila");
    let (_first, proof) = challenged(&broker, "alice1", &scram);
    let (mut second, _) = challenged(&broker, "alice2", &scram);
    second.send_bytes(&go_on(&proof.message));
    expect_connack(&mut second, 0x87);
}

/// 4.12: data that the method does not know.
#[test]
fn data_that_is_not_of_the_method_is_refused() {
    let broker = broker();
    for data in
        ["", "n,,", "n,,n=alice", "p=tls-unique,,n=alice,r=abc", "y,a=bob,n=alice,r=abc", "\u{0}\u{1}", "n,,n=al=ice,r=a"]
    {
        let mut client = Client::dial(broker.address(), V5);
        client.send(&Packet::Connect(connect_by("odd", data.as_bytes())));
        expect_connack(&mut client, 0x87);
    }
    for data in ["", "c=biws", "c=biws,r=abc,p=AAAA", "v=abc"] {
        let (mut client, _) = challenged(&broker, "odd", &Scram::new("alice", "ecila"));
        client.send_bytes(&go_on(data.as_bytes()));
        expect_connack(&mut client, 0x87);
    }
}

/// [MQTT-4.12.0-3], [MQTT-4.12.0-5], [MQTT-3.15.2-1], 3.15.2.2.2: before CONNACK an AUTH continues what CONNECT has begun.
#[test]
fn an_auth_that_does_not_continue_the_exchange_is_refused() {
    let broker = broker();
    let wrong: [fn(&Proof) -> Vec<u8>; 6] = [
        |proof| auth(AuthReason::ContinueAuthentication, Some("SCRAM-SHA-1"), &proof.message),
        |proof| auth(AuthReason::ReAuthenticate, Some(METHOD), &proof.message),
        |proof| auth(AuthReason::Success, Some(METHOD), &proof.message),
        |proof| auth(AuthReason::ContinueAuthentication, None, &proof.message),
        |_| vec![0xF0, 0],
        |proof| packet(0xF0, &[&[0x80], &section(&text_property(0x16, &proof.message))]),
    ];
    for wrong in wrong {
        let (mut client, proof) = challenged(&broker, "alice1", &Scram::new("alice", "ecila"));
        client.send_bytes(&wrong(&proof));
        expect_connack(&mut client, 0x82);
    }
}

/// [MQTT-3.1.2-30].
#[test]
fn nothing_but_auth_and_disconnect_is_taken_before_connack() {
    let broker = broker();
    let mut witness = Client::connect(broker.address(), V5, "witness");
    witness.subscribe("#", QoS::AtMostOnce);
    for early in [
        publish(0x30, V5, "early", None, &[]),
        publish(0x32, V5, "early", Some(1), &[]),
        subscribe(V5, &[], "#", 0),
        vec![0xC0, 0],
        vec![0x40, 2, 0, 1],
    ] {
        let (mut client, proof) = challenged(&broker, "hasty", &Scram::new("alice", "ecila"));
        client.send_bytes(&[early, go_on(&proof.message)].concat());
        expect_connack(&mut client, 0x82);
        witness.expect_nothing();
    }
}

/// [MQTT-3.1.2-30], 3.14.4: with all that it may carry.
#[test]
fn a_client_may_give_up_before_connack() {
    let broker = broker();
    let expiry = packet(0xE0, &[&[0], &section(&[0x11, 0, 0, 0, 50])]);
    for goodbye in [vec![0xE0, 0], vec![0xE0, 1, 0x80], expiry] {
        let (mut client, _) = challenged(&broker, "undecided", &Scram::new("alice", "ecila"));
        client.send_bytes(&goodbye);
        let rest = client.rest();
        assert!(rest.is_empty(), "{goodbye:02x?}: {rest:02x?}");
    }
}

/// 4.12: until the client has proven itself, whoever has its identifier keeps it, and its will is nobody's.
#[test]
fn a_failed_authentication_touches_neither_session_nor_will() {
    let broker = broker();
    let mut victim = let_in(&broker, "alice1", "alice", "ecila");
    victim.subscribe("#", QoS::AtMostOnce);
    let scram = Scram::new("alice", "guess");
    let first = scram.first();
    let connect = Connect { clean_start: true, will: Some(will("wills", "never")), ..connect_by("alice1", &first) };
    let (mut client, proof) = challenged_with(&broker, connect, &scram);
    victim.ping();
    client.send_bytes(&go_on(&proof.message));
    expect_connack(&mut client, 0x87);
    victim.expect_nothing();
}

/// 4.12, 3.1.4: the time to CONNECT is the time until a client is let in.
#[test]
fn a_client_that_does_not_answer_the_challenge_is_cut() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hash = dunlin::auth::hash_password(b"ecila", dunlin::auth::Kind::ScramSha256).expect("a hash");
    std::fs::write(folder.path().join("users"), format!("alice:{hash}\n")).expect("a file");
    let broker = Broker::with_config_in(folder, &format!("{CONFIG}[limits]\nconnect_timeout = \"1s\"\n"));
    let (mut client, _) = challenged(&broker, "mute", &Scram::new("alice", "ecila"));
    client.rest();
}

/// [MQTT-4.12.0-6], [MQTT-4.12.0-7]: without a method in CONNECT there is no AUTH.
#[test]
fn a_client_that_named_no_method_may_not_send_auth() {
    let broker = broker();
    let scram = Scram::new("alice", "ecila");
    for bytes in [anew(&scram), go_on(&scram.first()), vec![0xF0, 0]] {
        let mut client = Client::connect(broker.address(), V5, "plain");
        client.send_bytes(&bytes);
        client.expect_disconnect(0x82);
    }
}

/// 3.1.2.9: the same user may come with a password alone, and then there is no exchange.
#[test]
fn users_of_scram_may_log_in_with_their_password_alone() {
    let broker = broker();
    for (password, reason) in [("ecila", 0), ("wrong", 0x86)] {
        let connect =
            Connect { client_id: "alice2", username: Some("alice"), password: Some(password.as_bytes()), ..connect(V5) };
        assert_eq!(Client::refused(broker.address(), connect), reason);
    }
}

/// 4.12.1: the client goes on with its work meanwhile.
#[test]
fn a_client_may_authenticate_again() {
    let broker = broker();
    let mut client = let_in(&broker, "alice1", "alice", "ecila");
    client.subscribe("a", QoS::AtMostOnce);
    for _ in 0..2 {
        let scram = Scram::new("alice", "ecila");
        client.send_bytes(&anew(&scram));
        let challenge = expect_auth(&mut client, AuthReason::ContinueAuthentication);
        client.publish("a", "meanwhile", QoS::AtMostOnce);
        client.expect_message("a", "meanwhile");
        let proof = scram.prove(&challenge);
        client.send_bytes(&go_on(&proof.message));
        assert_eq!(expect_auth(&mut client, AuthReason::Success), proof.server_final);
        client.publish("a", "after", QoS::AtMostOnce);
        client.expect_message("a", "after");
    }
}

/// [MQTT-4.12.1-2]; another user than the one whose session it is has not authenticated this client.
#[test]
fn a_re_authentication_that_fails_ends_the_connection() {
    let broker = broker();
    for (user, password) in [("alice", "guess"), ("nobody", "ecila"), ("bob", "bob")] {
        let mut client = let_in(&broker, "alice1", "alice", "ecila");
        let scram = Scram::new(user, password);
        client.send_bytes(&anew(&scram));
        let proof = scram.prove(&expect_auth(&mut client, AuthReason::ContinueAuthentication));
        client.send_bytes(&go_on(&proof.message));
        client.expect_disconnect(0x87);
    }
    let mut client = let_in(&broker, "alice1", "alice", "ecila");
    client.send_bytes(&auth(AuthReason::ReAuthenticate, Some(METHOD), b"nonsense"));
    client.expect_disconnect(0x87);
}

/// [MQTT-4.12.1-1], 3.15.2.1: only with the method of CONNECT, and one step after the other.
#[test]
fn an_auth_out_of_turn_ends_the_connection() {
    let broker = broker();
    let scram = Scram::new("alice", "ecila");
    let out_of_turn = [
        auth(AuthReason::ReAuthenticate, Some("SCRAM-SHA-1"), &scram.first()),
        auth(AuthReason::ReAuthenticate, None, &scram.first()),
        go_on(&scram.first()),
        auth(AuthReason::Success, Some(METHOD), &[]),
        vec![0xF0, 0],
        [anew(&scram), anew(&scram)].concat(),
    ];
    for bytes in out_of_turn {
        let mut client = let_in(&broker, "alice1", "alice", "ecila");
        client.send_bytes(&bytes);
        client.expect_disconnect(0x82);
    }
}
