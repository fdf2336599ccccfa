//! Users and rights: a password file made by `dunlin passwd`, an ACL file, and mosquitto's tools in front of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::program::{Program, messages, mosquitto, publish, subscribe};
use crate::support::Broker;

const CONFIG: &str = "
[[listeners]]
name = 'tcp'
url = 'tcp://127.0.0.1:0'
[auth]
password_file = '@DIR@/users'
acl_file = '@DIR@/acl'
";

const ACL: &str = "
user alice
topic readwrite house/#

user bob
topic read house/#
topic deny house/safe

pattern readwrite own/%u/%c/#
";

const ALICE: [&str; 4] = ["-u", "alice", "-P", "wonderland"];
const BOB: [&str; 4] = ["-u", "bob", "-P", "the builder"];

fn broker() -> Broker {
    let folder = tempfile::tempdir().expect("a temporary folder");
    passwd(folder.path(), "alice", "wonderland");
    passwd(folder.path(), "bob", "the builder");
    fs::write(folder.path().join("acl"), ACL).expect("a file");
    Broker::with_config_in(folder, CONFIG)
}

/// `dunlin passwd --stdin`, as a script would use it.
fn passwd(folder: &Path, user: &str, password: &str) {
    let input = folder.join("password");
    fs::write(&input, format!("{password}\n")).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    Program::start_reading(command.args(["passwd", "--stdin"]).arg(folder.join("users")).arg(user), &input).succeed();
}

#[test]
fn only_who_knows_the_password_is_let_in() {
    let broker = broker();
    let attempt = |version: &str, who: &[&str]| {
        let arguments = [&["-V", version, "-t", "house/a", "-m", "x", "-q", "1"], who].concat();
        Program::start(&mut mosquitto("mosquitto_pub", broker.address(), &arguments))
    };
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        attempt(version, &ALICE).succeed();
        for who in [&["-u", "alice", "-P", "wrong"][..], &["-u", "mallory", "-P", "wonderland"], &["-u", "alice"], &[]] {
            let said = attempt(version, who).fail();
            assert!(said.contains("onnection"), "{version} {who:?}: {said}");
        }
    }
}

#[test]
fn rights_hold_for_publishing_and_for_reading() {
    let broker = broker();
    let address = broker.address();
    let reader = subscribe(address, &[&BOB[..], &["-t", "#", "-t", "house/#", "-q", "1", "-C", "1", "-F", "%t %p"]].concat());
    let denied = ["-V", "mqttv5", "-t", "house/door", "-m", "from bob", "-q", "1"];
    let said = Program::start(mosquitto("mosquitto_pub", address, &[&BOB[..], &denied].concat()).arg("-d")).succeed();
    assert!(said.iter().any(|line| line.contains("Not authorized")), "the publisher is told: {said:?}");
    publish(address, &[&ALICE[..], &["-t", "house/safe", "-m", "secret", "-q", "1"]].concat());
    publish(address, &[&ALICE[..], &["-t", "house/door", "-m", "from alice", "-q", "1"]].concat());
    assert_eq!(messages(reader.succeed()), ["house/door from alice"]);
}

#[test]
fn a_pattern_gives_each_client_a_branch_of_its_own() {
    let broker = broker();
    let desk = [&BOB[..], &["-i", "desk", "-c", "-q", "1", "-t", "own/bob/desk/#"]].concat();
    let publish_as = |user: &[&str], id: &str, topic: &str| {
        publish(broker.address(), &[user, &["-i", id, "-c", "-q", "1", "-m", "x", "-t", topic]].concat());
    };
    let read = |more: &[&str]| {
        Program::start(&mut mosquitto("mosquitto_sub", broker.address(), &[&desk[..], more].concat())).succeed()
    };
    read(&["-E"]);
    publish_as(&BOB, "attic", "own/bob/desk/another-client");
    publish_as(&ALICE, "wonder", "own/bob/desk/another-user");
    publish_as(&BOB, "desk", "own/bob/desk/itself");
    assert_eq!(read(&["-C", "1", "-F", "%t"]), ["own/bob/desk/itself"]);
}

#[test]
fn a_user_that_is_added_can_log_in_after_sighup() {
    let mut broker = broker();
    let carol = ["-u", "carol", "-P", "new", "-i", "c", "-t", "own/carol/c", "-m", "x", "-q", "1"];
    Program::start(&mut mosquitto("mosquitto_pub", broker.address(), &carol)).fail();
    passwd(broker.folder.path(), "carol", "new");
    broker.signal("-HUP");
    broker.wait_for_log("config reloaded");
    publish(broker.address(), &carol);
}
