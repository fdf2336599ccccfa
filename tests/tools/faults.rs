//! What goes wrong is told by the exit code, and what was not printed is not acknowledged.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};

use dunlin::packet::{
    Delivery, Disconnect, DisconnectReason, Packet, PacketId, PublishAck, PublishReason, UnsubAck, UnsubscribeReason,
    UserProperties,
};

use crate::scripted::Scripted;
use crate::support::client::publish;
use crate::support::{Broker, eventually};
use crate::tool::Whose;

/// One of our tools as it runs, killed when dropped. Its standard input stays open.
struct Running(Child);

impl Running {
    fn start(tool: &str, address: SocketAddr, arguments: &[&str]) -> Self {
        let mut command = Whose::Ours.at(tool, address, arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().expect("the tool starts"))
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Its exit code, once it has ended.
    fn code(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the tool ends", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

#[test]
fn what_was_not_printed_comes_the_next_time() {
    let broker = Broker::start();
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["1", "2"] {
            let name = format!("keeper-{version}-{qos}");
            let keeper = ["-c", "-i", &name, "-t", &name, "-q", qos, "-V", version, "-W", "20"];
            let run = |more: &[&str]| Whose::Ours.run("sub", broker.address(), &[&keeper[..], more].concat(), b"");
            assert_eq!(run(&["-E"]).0, Some(0));
            let lines = b"1\n2\n3\n4\n5\n6\n7\n8\n9\n";
            let (code, ..) = Whose::Ours.run("pub", broker.address(), &["-t", &name, "-q", qos, "-l"], lines);
            assert_eq!(code, Some(0));
            let mut printed = String::new();
            for count in ["1", "2", "6"] {
                let (code, output, error) = run(&["-C", count]);
                assert_eq!(code, Some(0), "{name}, {count}, after {printed:?}: {error}");
                printed.push_str(&output);
            }
            assert_eq!(printed.as_bytes(), lines, "{name}");
        }
    }
}

#[test]
fn what_standard_output_does_not_take_comes_the_next_time() {
    let broker = Broker::start();
    let keeper = ["-c", "-i", "keeper", "-t", "k", "-q", "1", "-W", "20"];
    let run = |more: &[&str]| Whose::Ours.run("sub", broker.address(), &[&keeper[..], more].concat(), b"");
    assert_eq!(run(&["-E"]).0, Some(0));
    let (code, ..) = Whose::Ours.run("pub", broker.address(), &["-t", "k", "-q", "1", "-l"], b"1\n2\n3\n");
    assert_eq!(code, Some(0));
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Whose::Ours.at("sub", broker.address(), &keeper);
    let status = command.stdin(Stdio::null()).stdout(full).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(1));
    let (code, output, error) = run(&["-C", "3"]);
    assert_eq!((code, output.as_str()), (Some(0), "1\n2\n3\n"), "{error}");
}

#[test]
fn exactly_the_printed_messages_are_acknowledged() {
    for (qos, ack) in [("1", "PUBACK"), ("2", "PUBREC")] {
        let server = Scripted::start();
        let mut tool = Running::start("sub", server.address(), &["-t", "a", "-q", qos, "-C", "2"]);
        let mut guest = server.let_in();
        let suback = guest.expect_subscription();
        let message = |number| {
            let delivery = if qos == "1" { Delivery::AtLeastOnce(id(number)) } else { Delivery::ExactlyOnce(id(number)) };
            Packet::Publish(publish("a", "x", delivery))
        };
        guest.send(&[suback, message(1), message(2), message(3), message(4)]);
        assert_eq!(guest.rest(), [format!("{ack} 1"), format!("{ack} 2"), "DISCONNECT".into()]);
        assert_eq!(tool.code(), Some(0));
    }
}

#[test]
fn what_comes_while_the_last_retained_message_is_deleted_is_not_acknowledged() {
    let server = Scripted::start();
    let mut tool = Running::start("sub", server.address(), &["-t", "a", "-q", "1", "-C", "1", "--remove-retained"]);
    let mut guest = server.let_in();
    let suback = guest.expect_subscription();
    let message = |number| {
        let mut message = publish("a", "x", Delivery::AtLeastOnce(id(number)));
        message.retain = true;
        Packet::Publish(message)
    };
    guest.send(&[suback, message(1), message(2), message(3)]);
    let removal = guest.expect("PUBLISH").unwrap();
    assert_eq!(guest.expect("PUBACK"), Some(id(1)));
    guest.send(&[message(4), Packet::PubAck(PublishAck::new(removal, PublishReason::Success))]);
    assert_eq!(guest.rest(), ["DISCONNECT"]);
    assert_eq!(tool.code(), Some(0));
}

#[test]
fn no_more_are_asked_for_at_a_time_than_are_wanted() {
    for (count, expected) in [("3", 3), ("100000", u16::MAX)] {
        let server = Scripted::start();
        let _tool = Running::start("sub", server.address(), &["-t", "a", "-V", "mqttv5", "-C", count]);
        assert_eq!(server.let_in().receive_maximum, expected);
    }
}

#[test]
fn a_publisher_that_is_stopped_before_it_is_done_says_so() {
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        let server = Scripted::start();
        let publisher = || Running::start("pub", server.address(), &["-t", "a", "-q", "1", "-m", "x"]);
        let mut tool = publisher();
        let _guest = server.accept();
        tool.signal(signal);
        assert_eq!(tool.code(), Some(code), "it was never let in");
        let mut tool = publisher();
        let mut guest = server.let_in();
        guest.expect("PUBLISH");
        tool.signal(signal);
        assert_eq!(tool.code(), Some(code), "nothing was acknowledged");
        let mut tool = Running::start("sub", server.address(), &["-t", "a"]);
        let mut guest = server.let_in();
        guest.expect("SUBSCRIBE");
        tool.signal(signal);
        assert_eq!(tool.code(), Some(0), "a subscriber is done when it is stopped");
    }
}

#[test]
fn a_message_that_the_server_refuses_is_an_error() {
    let publisher = ["-V", "mqttv5", "-t", "a", "-m", "x", "-q"];
    for (qos, more) in [("1", &["1"][..]), ("1", &["1", "--quiet"]), ("2", &["2"])] {
        let server = Scripted::start();
        let arguments = [&publisher[..], more].concat();
        let mut tool = Running::start("pub", server.address(), &arguments);
        let mut guest = server.let_in();
        let ack = PublishAck::new(guest.expect("PUBLISH").unwrap(), PublishReason::NotAuthorized);
        guest.send(&[if qos == "1" { Packet::PubAck(ack) } else { Packet::PubRec(ack) }]);
        assert_eq!(guest.rest(), ["DISCONNECT"]);
        assert_eq!(tool.code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn a_server_that_says_goodbye_is_an_error() {
    for arguments in [&["pub", "-q", "1", "-m", "x"][..], &["sub"]] {
        let server = Scripted::start();
        let mut tool =
            Running::start(arguments[0], server.address(), &[&arguments[1..], &["-t", "a", "-V", "mqttv5"][..]].concat());
        let mut guest = server.let_in();
        guest.send(&[Packet::Disconnect(Disconnect::new(DisconnectReason::NormalDisconnection))]);
        assert_eq!(tool.code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn an_unsubscription_that_the_server_refuses_is_an_error() {
    for (reason, code) in [(UnsubscribeReason::Success, 0), (UnsubscribeReason::NotAuthorized, 1)] {
        let server = Scripted::start();
        let mut tool = Running::start("sub", server.address(), &["-U", "a", "-V", "mqttv5"]);
        let mut guest = server.let_in();
        let packet_id = guest.expect("UNSUBSCRIBE").unwrap();
        let (reason_string, user_properties, reasons) = (None, UserProperties::default(), vec![reason]);
        guest.send(&[Packet::UnsubAck(UnsubAck { packet_id, reason_string, user_properties, reasons })]);
        assert_eq!(guest.rest(), ["DISCONNECT"]);
        assert_eq!(tool.code(), Some(code));
    }
}

/// A file of more than what the system takes for a server that reads nothing.
fn large(folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("large");
    File::create(&path).unwrap().set_len(32 << 20).unwrap();
    path.display().to_string()
}

#[test]
fn a_server_that_takes_nothing_does_not_keep_the_tool() {
    let folder = tempfile::tempdir().unwrap();
    let server = Scripted::start();
    let mut tool = Running::start("pub", server.address(), &["-t", "a", "-f", &large(&folder)]);
    let mut guest = server.let_in();
    guest.expect_beginning();
    tool.signal("-TERM");
    assert_eq!(tool.code(), Some(143));
}

#[test]
fn a_message_of_qos_0_that_did_not_go_out_whole_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let server = Scripted::start();
    let arguments = ["-t", "a", "-f", &large(&folder)];
    let mut tool = Running::start("pub", server.address(), &arguments);
    let mut guest = server.let_in();
    guest.expect_beginning();
    drop(guest);
    assert_eq!(tool.code(), Some(1), "the server is gone");
    let mut tool = Running::start("pub", server.address(), &arguments);
    assert_eq!(server.let_in().rest(), ["PUBLISH", "DISCONNECT"]);
    assert_eq!(tool.code(), Some(0), "it has all of it");
}

#[test]
fn a_session_that_is_taken_up_does_not_get_the_identifiers_of_the_last_run() {
    let server = Scripted::start();
    let first_id = || {
        let _tool = Running::start("pub", server.address(), &["-c", "-i", "p", "-t", "a", "-q", "2", "-m", "x"]);
        server.let_in().expect("PUBLISH")
    };
    let ids = [first_id(), first_id(), first_id()];
    assert!(ids.iter().any(|id| *id != ids[0]), "{ids:?}");
}

#[test]
fn a_message_need_not_be_text_and_a_property_means_mqtt_5() {
    let broker = Broker::start();
    let format = ["-F", "%C %x", "-D", "subscribe", "subscription-identifier", "7"];
    let running = Whose::Ours.subscribe(&broker, &[&["-t", "a", "-q", "1", "-C", "1"], &format[..]].concat());
    let arguments = ["-t", "a", "-q", "1", "-D", "publish", "content-type", "t", "-m"];
    let mut command = Whose::Ours.at("pub", broker.address(), &arguments);
    assert!(command.arg(OsStr::from_bytes(b"\xFF\xFE")).status().unwrap().success());
    assert_eq!(running.output(), (Some(0), "t fffe\n".into()));
}

#[test]
fn the_retained_flag_is_as_published_if_that_is_wanted() {
    let broker = Broker::start();
    let subscriber = ["-q", "1", "-V", "mqttv5", "-C", "1", "-F", "%r", "-t"];
    for (more, expected) in [(&["a"][..], "0\n"), (&["b", "--retain-as-published"], "1\n")] {
        let running = Whose::Ours.subscribe(&broker, &[&subscriber[..], more].concat());
        Whose::Ours.publish(&broker, &["-t", more[0], "-q", "1", "-r", "-m", "x"]);
        assert_eq!(running.output(), (Some(0), expected.into()));
    }
    let (code, ..) = Whose::Ours.run("sub", broker.address(), &["-t", "a", "--retain-as-published"], b"");
    assert_eq!(code, Some(2), "older versions do not know it");
}
