//! mosquitto_pub and mosquitto_sub in all three versions.

use std::fs;

use crate::program::{Program, messages, mosquitto, publish, subscribe};
use crate::support::Broker;

const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

/// Topic, QoS, retained flag and payload of each message.
const FORMAT: [&str; 2] = ["-F", "%t %q %r %p"];

#[test]
fn every_version_makes_the_round_trip_with_every_qos() {
    let broker = Broker::start();
    for to in VERSIONS {
        let wanted: Vec<_> = (0..9).map(|n| format!("a/{} {} 0 x", n / 3, n % 3)).collect();
        let arguments = [&FORMAT[..], &["-V", to, "-t", "a/+", "-q", "2", "-C", "9"]].concat();
        let subscriber = subscribe(broker.address(), &arguments);
        for (index, from) in VERSIONS.iter().enumerate() {
            for qos in ["0", "1", "2"] {
                let topic = format!("a/{index}");
                publish(broker.address(), &["-V", from, "-t", &topic, "-q", qos, "-m", "x"]);
            }
        }
        assert_eq!(messages(subscriber.succeed()), wanted, "{to}");
    }
}

#[test]
fn payloads_arrive_byte_by_byte_whatever_their_size() {
    let broker = Broker::start();
    let file = broker.folder.path().join("payload");
    for size in [0, 1, 127, 128, 16 * 1024, 256 * 1024] {
        let payload: Vec<u8> = (0..size).map(|n: u32| (n * 7 % 251) as u8).collect();
        fs::write(&file, &payload).expect("a file");
        let path = file.display().to_string();
        let source = if size == 0 { vec!["-n"] } else { vec!["-f", path.as_str()] };
        let subscriber = subscribe(broker.address(), &["-t", "size", "-q", "1", "-C", "1", "-F", "%l %x"]);
        publish(broker.address(), &[&["-t", "size", "-q", "1"], source.as_slice()].concat());
        let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(messages(subscriber.succeed()), [format!("{size} {hex}")], "{size} bytes");
    }
}

#[test]
fn a_thousand_lines_arrive_in_order() {
    let broker = Broker::start();
    let lines: Vec<_> = (0..1000).map(|n| format!("line {n}")).collect();
    let file = broker.folder.path().join("lines");
    fs::write(&file, lines.join("\n") + "\n").expect("a file");
    for qos in ["1", "2"] {
        let subscriber = subscribe(broker.address(), &["-t", "lines", "-q", qos, "-C", "1000", "-F", "%p"]);
        let mut publisher = mosquitto("mosquitto_pub", broker.address(), &["-t", "lines", "-q", qos, "-l"]);
        Program::start_reading(&mut publisher, &file).succeed();
        assert_eq!(messages(subscriber.succeed()), lines, "QoS {qos}");
    }
}

#[test]
fn a_retained_message_waits_for_those_who_come_later() {
    let broker = Broker::start();
    for version in VERSIONS {
        let pub_with = |rest: &[&str]| publish(broker.address(), &[&["-V", version, "-q", "1"], rest].concat());
        pub_with(&["-t", "house/door", "-r", "-m", "open"]);
        pub_with(&["-t", "house/door", "-r", "-m", "shut"]);
        pub_with(&["-t", "house/lamp", "-r", "-m", "on"]);
        let read = |filter: &str, count: &str| {
            let arguments = [&FORMAT[..], &["-V", version, "-q", "1", "-t", filter, "-C", count]].concat();
            let mut lines = Program::start(&mut mosquitto("mosquitto_sub", broker.address(), &arguments)).succeed();
            lines.sort();
            lines
        };
        assert_eq!(read("house/+", "2"), ["house/door 1 1 shut", "house/lamp 1 1 on"], "{version}");
        pub_with(&["-t", "house/door", "-r", "-n"]);
        assert_eq!(read("#", "1"), ["house/lamp 1 1 on"], "{version}: the empty one deletes");
        let remove = ["-V", version, "-t", "#", "-W", "1", "--remove-retained", "--retained-only"];
        Program::start(&mut mosquitto("mosquitto_sub", broker.address(), &remove)).end();
        let arguments = [&FORMAT[..], &["-V", version, "-t", "#", "-C", "1"]].concat();
        let subscriber = subscribe(broker.address(), &arguments);
        pub_with(&["-t", "house/end", "-m", "x"]);
        assert_eq!(messages(subscriber.succeed()), ["house/end 0 0 x"], "{version}: nothing retained is left");
    }
}

#[test]
fn the_will_of_a_killed_client_is_published_and_that_of_a_parting_one_is_not() {
    let broker = Broker::start();
    for version in VERSIONS {
        let arguments = [&FORMAT[..], &["-t", "will/#", "-q", "2", "-C", "2"]].concat();
        let watcher = subscribe(broker.address(), &arguments);
        let will = |topic| {
            let payload = ["-V", version, "-t", "x", "--will-payload", "gone", "--will-qos", "2", "--will-topic", topic];
            mosquitto("mosquitto_sub", broker.address(), &payload)
        };
        // Not by a signal: there mosquitto_sub asks for its will in version 5, by DISCONNECT 0x04.
        Program::start(will("will/polite").arg("-E")).succeed();
        let signal = subscribe(broker.address(), &["-t", "will/killed", "-C", "1"]);
        let mut killed = Program::start(will("will/killed").arg("-d"));
        killed.expect_line("Subscribed ");
        killed.kill();
        signal.succeed();
        publish(broker.address(), &["-t", "will/end", "-m", "x"]);
        assert_eq!(messages(watcher.succeed()), ["will/killed 2 0 gone", "will/end 0 0 x"], "{version}");
    }
}

#[test]
fn a_persistent_session_keeps_what_comes_while_its_client_is_away() {
    let broker = Broker::start();
    for version in VERSIONS {
        let keeper = ["-V", version, "-c", "-i", "keeper", "-t", "post/#", "-q", "2"];
        Program::start(&mut mosquitto("mosquitto_sub", broker.address(), &[&keeper[..], &["-E"]].concat())).succeed();
        for (qos, text) in [("1", "first"), ("2", "second"), ("1", "third")] {
            publish(broker.address(), &["-V", version, "-t", "post/box", "-q", qos, "-m", text]);
        }
        let arguments = [&keeper[..], &FORMAT, &["-C", "3"]].concat();
        let lines = Program::start(&mut mosquitto("mosquitto_sub", broker.address(), &arguments)).succeed();
        // mosquitto_sub shows a QoS 2 message when its exchange is done: the order can be seen within a QoS.
        let (twice, once): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.contains(" 2 0 "));
        assert_eq!(once, ["post/box 1 0 first", "post/box 1 0 third"], "{version}");
        assert_eq!(twice, ["post/box 2 0 second"], "{version}");
    }
}

#[test]
fn the_newcomer_takes_over_the_client_identifier() {
    let mut broker = Broker::start();
    for version in ["mqttv311", "mqttv5"] {
        let first = subscribe(broker.address(), &["-V", version, "-i", "same", "-t", "old"]);
        let second = subscribe(broker.address(), &["-V", version, "-i", "same", "-t", "new", "-C", "1", "-F", "%p"]);
        broker.wait_for_log("taken over");
        // mosquitto_sub would be back after a second, and take over in turn.
        first.kill();
        publish(broker.address(), &["-t", "new", "-m", "for you", "-q", "1"]);
        assert_eq!(messages(second.succeed()), ["for you"], "{version}");
    }
}

#[test]
fn members_of_a_group_share_the_work() {
    let broker = Broker::start();
    for version in ["mqttv311", "mqttv5"] {
        let member = ["-V", version, "-t", "$share/crew/work/#", "-q", "1", "-C", "5", "-F", "%p"];
        let members = [subscribe(broker.address(), &member), subscribe(broker.address(), &member)];
        for n in 0..10 {
            publish(broker.address(), &["-t", "work/a", "-q", "1", "-m", &n.to_string()]);
        }
        let mut all: Vec<_> = members.into_iter().flat_map(|member| messages(member.succeed())).collect();
        all.sort();
        assert_eq!(all, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"], "{version}");
    }
}

#[test]
fn sys_topics_tell_about_the_broker() {
    let broker = Broker::with_config("[[listeners]]\nname = 'tcp'\nurl = 'tcp://127.0.0.1:0'\n[sys]\ninterval = '1s'\n");
    let mut reader = Program::start(&mut mosquitto("mosquitto_sub", broker.address(), &["-v", "-t", "$SYS/#"]));
    let mut seen = Vec::new();
    let wanted = ["version", "uptime", "clients/connected", "messages/received", "load/messages/received/1min"];
    while !wanted.iter().all(|name| seen.iter().any(|line: &String| line.starts_with(&format!("$SYS/broker/{name} ")))) {
        seen.push(reader.expect_line("$SYS/broker/"));
    }
    let value = |name: &str| seen.iter().find_map(|line| line.strip_prefix(&format!("$SYS/broker/{name} ")));
    assert!(value("version").is_some_and(|text| text.starts_with("dunlin ")), "{:?}", value("version"));
    assert!(value("uptime").is_some_and(|text| text.ends_with(" seconds")), "{:?}", value("uptime"));

    let mut presence = subscribe(broker.address(), &["-v", "-t", "$SYS/brokers/+/clients/#"]);
    publish(broker.address(), &["-i", "visitor", "-t", "a", "-m", "x"]);
    presence.expect_line("$SYS/brokers/dunlin/clients/visitor/connected ");
    presence.expect_line("$SYS/brokers/dunlin/clients/visitor/disconnected ");
}

#[test]
fn a_unix_socket_serves_like_a_port() {
    let config = "[[listeners]]\nname = 'unix'\nurl = 'unix://@DIR@/dunlin.sock'\n\
        [[listeners]]\nname = 'tcp'\nurl = 'tcp://127.0.0.1:0'\n";
    let broker = Broker::with_config(config);
    let socket = broker.folder.path().join("dunlin.sock").display().to_string();
    let subscriber = subscribe(broker.address(), &["-t", "a", "-C", "1", "-F", "%p"]);
    let arguments = ["mosquitto_pub", "--unix", &socket, "-t", "a", "-q", "2", "-m", "by path"];
    Program::start(std::process::Command::new("stdbuf").arg("-oL").args(arguments)).succeed();
    assert_eq!(messages(subscriber.succeed()), ["by path"]);
}
