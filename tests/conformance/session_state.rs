//! 4.1: what outlives the Network Connection, for how long, and whose it is.

use std::io::Write;
use std::process::{Command, Stdio};

use dunlin::packet::{Connect, Delivery, Disconnect, DisconnectReason, QoS};

use crate::steps::{
    NEVER, begin, expect_pubcomp, expect_pubrec, expect_pubrel, expiring, id, keeping, leave, leave_with, lose, next_message,
    pubrel, resume, send, will,
};
use crate::support::client::{V5, V31, V311, connect};
use crate::support::{Broker, Client, eventually};

/// `[MQTT-3.1.2-5]`, `[MQTT-4.1.0-1]`, `[MQTT3-3.1.2-4]`, `[MQTT3-3.1.2-5]`.
#[test]
fn subscriptions_and_the_messages_for_them_outlive_the_connection() {
    let broker = Broker::start();
    for version in [V31, V311, V5] {
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        let name = format!("stays{version}").replace('.', "");
        let mut subscriber = begin(broker.address(), keeping(version, &name));
        subscriber.subscribe("a/+", QoS::ExactlyOnce);
        leave(subscriber);
        publisher.publish("a/1", "one", QoS::AtLeastOnce);
        publisher.publish("a/2", "two", QoS::ExactlyOnce);

        let mut subscriber = if version == V31 {
            // The byte that tells it is reserved in 3.1.
            Client::connect_with(broker.address(), keeping(version, &name)).0
        } else {
            resume(broker.address(), keeping(version, &name))
        };
        assert_eq!(subscriber.expect_message("a/1", "one").qos(), QoS::AtLeastOnce);
        assert_eq!(subscriber.expect_message("a/2", "two").qos(), QoS::ExactlyOnce);
        publisher.publish("a/3", "three", QoS::AtMostOnce);
        subscriber.expect_message("a/3", "three");
        leave(subscriber);
        begin(broker.address(), Connect { clean_start: true, ..keeping(version, &name) });
    }
}

/// 4.1: QoS 1 and 2 messages that were sent and not acknowledged to the end are session state, on both sides.
#[test]
fn exchanges_under_way_outlive_the_connection() {
    let mut broker = Broker::start();
    for version in [V311, V5] {
        let name = if version == V5 { "v5" } else { "v311" };
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        let mut client = begin(broker.address(), keeping(version, name));
        client.subscribe("a", QoS::ExactlyOnce);
        publisher.publish("a", "acknowledge me", QoS::AtLeastOnce);
        publisher.publish("a", "release me", QoS::ExactlyOnce);
        let first = client.expect_message("a", "acknowledge me").packet_id().unwrap();
        let second = client.expect_message("a", "release me").packet_id().unwrap();
        send(&mut client, "b", "mine", Delivery::ExactlyOnce(id(77)), false);
        expect_pubrec(&mut client, id(77));
        lose(&mut broker, client, name);

        let mut client = resume(broker.address(), keeping(version, name));
        assert_eq!(next_message(&mut client), ("acknowledge me".into(), Delivery::AtLeastOnce(first), true));
        assert_eq!(next_message(&mut client), ("release me".into(), Delivery::ExactlyOnce(second), true));
        pubrel(&mut client, id(77));
        assert_eq!(expect_pubcomp(&mut client, id(77)), 0, "the identifier was kept");
    }
}

/// `[MQTT-3.1.2-4]`, `[MQTT-3.1.2-6]`, `[MQTT-3.2.2-2]`, `[MQTT3-3.1.2-6]`, `[MQTT3-3.2.2-1]`.
#[test]
fn a_clean_start_finds_nothing_of_the_session_before() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        let mut client = begin(broker.address(), keeping(version, "c"));
        client.subscribe("a", QoS::AtLeastOnce);
        publisher.publish("a", "inflight", QoS::AtLeastOnce);
        client.expect_message("a", "inflight");
        send(&mut client, "b", "half", Delivery::ExactlyOnce(id(9)), false);
        expect_pubrec(&mut client, id(9));
        leave(client);
        publisher.publish("a", "queued", QoS::AtLeastOnce);

        let mut client = begin(broker.address(), Connect { clean_start: true, ..keeping(version, "c") });
        client.expect_nothing();
        assert_eq!(publisher.publish("a", "for nobody", QoS::AtLeastOnce), 0x10);
        client.expect_nothing();
        pubrel(&mut client, id(9));
        assert_eq!(expect_pubcomp(&mut client, id(9)), if version == V5 { 0x92 } else { 0 });
        leave(client);
        begin(broker.address(), Connect { clean_start: true, ..keeping(version, "c") });
    }
}

/// 3.1.2.11.2: a Session Expiry Interval of 0, or none, ends the session with the connection; so does clean session.
#[test]
fn a_session_without_expiry_ends_with_its_connection() {
    let mut broker = Broker::start();
    for (version, clean_start) in [(V5, true), (V5, false), (V311, true), (V31, true)] {
        let connect = || Connect { client_id: "short", clean_start, ..connect(version) };
        let mut client = begin(broker.address(), connect());
        client.subscribe("a", QoS::AtLeastOnce);
        lose(&mut broker, client, "short");
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        assert_eq!(publisher.publish("a", "x", QoS::AtLeastOnce), 0x10, "the subscription is gone");
        leave(begin(broker.address(), Connect { clean_start: false, ..connect() }));
        let mut client = begin(broker.address(), Connect { clean_start: true, ..connect() });
        client.expect_nothing();
        leave(client);
    }
}

/// `[MQTT-3.1.2-23]`: the state is kept until the interval has passed, and not longer.
#[test]
fn a_session_expires_when_its_interval_has_passed() {
    let broker = Broker::start();
    let mut client = begin(broker.address(), expiring("expires", true, 1));
    client.subscribe("a", QoS::AtLeastOnce);
    leave(client);
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    eventually("the subscription goes with the session", || publisher.publish("a", "x", QoS::AtLeastOnce) == 0x10);
    begin(broker.address(), expiring("expires", false, 1)).expect_nothing();
    assert_eq!(broker.metric("dunlin_sessions_expired_total"), 1.0);
}

/// The interval counts from the end of the connection: a session that is in use, or was taken up in time, does not expire.
#[test]
fn a_session_that_is_taken_up_in_time_does_not_expire() {
    let broker = Broker::start();
    leave(begin(broker.address(), expiring("used", true, 2)));
    let mut client = resume(broker.address(), expiring("used", false, 2));
    leave(begin(broker.address(), expiring("witness", true, 3)));
    client.subscribe("a", QoS::AtLeastOnce);
    eventually("another one expires", || broker.metric("dunlin_sessions_expired_total") == 1.0);
    client.publish("a", "still here", QoS::AtLeastOnce);
    client.expect_message("a", "still here");
}

/// 3.1.2.11.2: 0xFFFFFFFF is a session that does not expire; the server may shorten it and tells so `[MQTT-3.2.2-21]`.
#[test]
fn for_ever_is_granted_where_there_is_no_maximum_and_shortened_where_there_is() {
    let free = Broker::with_config(
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [limits]
        max_session_expiry = "0s"
        "#,
    );
    let told = |broker: &Broker| {
        let (client, told) =
            Client::connack(broker.address(), expiring("ever", false, NEVER), |properties| properties.session_expiry_interval);
        leave(client);
        told
    };
    assert_eq!(told(&free), None, "what was asked for holds");
    resume(free.address(), expiring("ever", false, 0));
    assert_eq!(told(&Broker::start()), Some(90 * 86_400));
}

/// 3.14.2.2.2: DISCONNECT changes the interval, to nothing or to more.
#[test]
fn disconnect_shortens_and_lengthens_the_expiry() {
    let broker = Broker::start();
    let with_expiry = |seconds| Disconnect {
        session_expiry_interval: Some(seconds),
        ..Disconnect::new(DisconnectReason::NormalDisconnection)
    };
    let mut client = begin(broker.address(), expiring("c", true, 3600));
    client.subscribe("a", QoS::AtLeastOnce);
    leave_with(client, with_expiry(0));
    leave_with(begin(broker.address(), expiring("c", false, 1)), with_expiry(3600));

    leave(begin(broker.address(), expiring("witness", true, 1)));
    eventually("one second has passed", || broker.metric("dunlin_sessions_expired_total") == 1.0);
    resume(broker.address(), expiring("c", false, 0));
}

/// 3.14.2.2.2: not from zero in CONNECT to anything else; 3.14.2.2.2: the will goes out, since this is no normal end.
#[test]
fn a_session_that_was_to_end_cannot_be_kept_at_disconnect() {
    let broker = Broker::start();
    let mut client = begin(broker.address(), expiring("c", true, 0));
    client.send(&dunlin::packet::Packet::Disconnect(Disconnect {
        session_expiry_interval: Some(10),
        ..Disconnect::new(DisconnectReason::NormalDisconnection)
    }));
    client.expect_disconnect(0x82);
    begin(broker.address(), expiring("c", false, 0));
}

/// 3.1.2.11.2: the interval of the last CONNECT is the one that counts.
#[test]
fn each_connect_sets_the_expiry_anew() {
    let broker = Broker::start();
    leave(begin(broker.address(), expiring("c", true, 3600)));
    leave(resume(broker.address(), expiring("c", false, 0)));
    begin(broker.address(), expiring("c", false, 0));
}

/// `[MQTT-3.1.4-3]`, `[MQTT3-3.1.4-2]`: the connection that was there is closed; 5.0 clients are told why.
#[test]
fn the_one_who_connects_later_takes_the_session_over_with_all_that_is_under_way() {
    let broker = Broker::start();
    for (before, after) in [(V5, V5), (V311, V311), (V311, V5), (V5, V311)] {
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        let mut old = begin(broker.address(), keeping(before, "c"));
        old.subscribe("a", QoS::ExactlyOnce);
        publisher.publish("a", "one", QoS::AtLeastOnce);
        publisher.publish("a", "two", QoS::ExactlyOnce);
        let one = old.expect_message("a", "one").packet_id().unwrap();
        let two = old.expect_message("a", "two").packet_id().unwrap();
        old.pubrec(two);
        expect_pubrel(&mut old, two);

        let mut new = resume(broker.address(), keeping(after, "c"));
        old.expect_disconnect(0x8E);
        expect_pubrel(&mut new, two);
        assert_eq!(next_message(&mut new), ("one".into(), Delivery::AtLeastOnce(one), true));
        publisher.publish("a", "three", QoS::AtMostOnce);
        new.expect_message("a", "three");
        leave(new);
        leave(begin(broker.address(), expiring("c", true, 0)));
    }
}

/// `[MQTT3-3.1.2-6]`: the state of a clean session is not part of any later one. 3.1.4: with an expiry of 0 the session ends when it
/// is taken over.
#[test]
fn a_session_that_was_to_end_with_its_connection_is_not_taken_over() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let mut old = begin(broker.address(), Connect { client_id: "c", ..connect(version) });
        old.subscribe("a", QoS::AtLeastOnce);
        let mut new = begin(broker.address(), keeping(version, "c"));
        old.expect_disconnect(0x8E);
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        assert_eq!(publisher.publish("a", "x", QoS::AtLeastOnce), 0x10);
        new.expect_nothing();
        leave(new);
        leave(begin(broker.address(), expiring("c", true, 0)));
    }
}

/// `[MQTT-3.1.4-3]`, `[MQTT-3.1.2-4]`: a take-over with clean start leaves nothing to take over.
#[test]
fn a_clean_start_over_a_connection_ends_its_session() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let mut old = begin(broker.address(), keeping(version, "c"));
        old.subscribe("a", QoS::AtLeastOnce);
        let mut new = begin(broker.address(), Connect { clean_start: true, ..keeping(version, "c") });
        old.expect_disconnect(0x8E);
        assert_eq!(new.publish("a", "x", QoS::AtLeastOnce), if version == V5 { 0x10 } else { 0 });
        new.expect_nothing();
        leave(new);
        leave(begin(broker.address(), expiring("c", true, 0)));
    }
}

/// The connection that was taken over does not, in ending, end what the new one has.
#[test]
fn what_was_taken_over_does_not_come_back() {
    let broker = Broker::start();
    let mut clients: Vec<Client> = Vec::new();
    for round in 0..20 {
        let expiry = if round % 2 == 0 { 3600 } else { 0 };
        let client = Client::connect_with(broker.address(), expiring("storm", round % 3 == 0, expiry)).0;
        clients.push(client);
    }
    let mut last = clients.pop().unwrap();
    for mut client in clients {
        client.expect_disconnect(0x8E);
    }
    last.subscribe("a", QoS::AtLeastOnce);
    last.publish("a", "mine", QoS::AtLeastOnce);
    last.expect_message("a", "mine");
    eventually("one session is left", || {
        broker.metric(r#"dunlin_sessions{state="online"}"#) == 1.0
            && broker.metric(r#"dunlin_sessions{state="offline"}"#) == 0.0
    });
}

/// 4.1: the session belongs to its client, and a client is not its identifier alone.
#[test]
fn another_user_with_the_same_client_identifier_gets_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for user in ["alice", "bob"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.arg("passwd").arg(folder.path().join("users")).args([user, "--stdin"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"secret\n").unwrap();
        assert!(child.wait().unwrap().success());
    }
    let broker = Broker::with_config_in(
        folder,
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [auth]
        password_file = "@DIR@/users"
        [protection]
        client_id_reuse = true
        "#,
    );
    let login = |user| Connect { username: Some(user), password: Some(b"secret"), ..keeping(V5, "shared") };
    let mut publisher = Client::connect_with(broker.address(), Connect { client_id: "publisher", ..login("bob") }).0;

    let mut alice = begin(broker.address(), Connect { will: Some(will("w", "alice is gone")), ..login("alice") });
    alice.subscribe("private/#", QoS::AtLeastOnce);
    assert_eq!(Client::refused(broker.address(), login("bob")), 0x87, "nobody is pushed out by another user");
    publisher.publish("private/1", "for alice", QoS::AtLeastOnce);
    alice.expect_message("private/1", "for alice");
    leave(alice);
    publisher.publish("private/2", "later", QoS::AtLeastOnce);

    let mut bob = begin(broker.address(), login("bob"));
    bob.expect_nothing();
    publisher.publish("private/3", "later still", QoS::AtLeastOnce);
    bob.expect_nothing();
}

/// 4.1: QoS 0 messages for a client that is away may be dropped, and are unless the config says otherwise.
#[test]
fn qos_0_messages_do_not_wait() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V311, "publisher");
    let mut subscriber = begin(broker.address(), keeping(V5, "s"));
    subscriber.subscribe("a", QoS::AtLeastOnce);
    subscriber.subscribe("b", QoS::AtMostOnce);
    leave(subscriber);
    publisher.publish("a", "0 by publication", QoS::AtMostOnce);
    publisher.publish("b", "0 by subscription", QoS::AtLeastOnce);
    publisher.publish("a", "1", QoS::AtLeastOnce);
    let mut subscriber = resume(broker.address(), keeping(V5, "s"));
    subscriber.expect_message("a", "1");
    subscriber.expect_nothing();
}
