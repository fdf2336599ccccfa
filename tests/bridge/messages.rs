//! What goes over, and that nothing is lost on the way.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use crate::cut_line::Line;
use crate::mosquitto::Mosquitto;
use crate::support::{Broker, eventually};
use crate::topics::{Reader, Side, broker, is_up, publish_lines};

const COUNT: usize = 2000;

/// Messages of one publisher go over while the line is cut again and again.
fn under_cuts(version: &str, qos: u8, is_outgoing: bool) {
    let mosquitto = Mosquitto::start();
    let line = Line::to(mosquitto.address);
    let broker = broker(line.address, version, "[[bridges.topics]]\nfilter = 'x/#'\ndirection = 'both'\n");
    is_up(&broker, true);
    let (source, target) =
        if is_outgoing { (broker.address(), mosquitto.address) } else { (mosquitto.address, broker.address()) };
    let reader = Reader::start(target, "x/#", 2);
    let publisher = thread::spawn(move || publish_lines(source, "x/1", qos, COUNT));
    let reconnects = || broker.metric("dunlin_bridge_reconnects_total{bridge=\"other\"}");
    loop {
        thread::sleep(Duration::from_millis(150));
        line.cut(); // Once at least, however fast it was.
        if publisher.is_finished() && (reader.count() >= COUNT || reconnects() >= 5.0) {
            break;
        }
    }
    publisher.join().unwrap();
    let what = format!("{version}, QoS {qos}, outgoing {is_outgoing}: all have come");
    eventually(&what, || reader.distinct() == COUNT);
    if qos == 2 {
        // Whatever could still come twice comes before this.
        publish_lines(source, "x/end", 2, 1);
        eventually("the last has come", || reader.topics().contains_key("x/end"));
        assert_eq!(reader.topics()["x/1"], COUNT, "{version}: QoS 2 is not doubled");
    }
    eventually("the cuts are noticed", || reconnects() >= 1.0);
}

#[test]
fn nothing_sent_with_qos_1_is_lost() {
    under_cuts("5.0", 1, true);
    under_cuts("3.1.1", 1, false);
}

#[test]
fn nothing_sent_with_qos_2_is_lost_or_doubled_on_the_way_out() {
    under_cuts("5.0", 2, true);
    under_cuts("3.1.1", 2, true);
}

#[test]
fn nothing_sent_with_qos_2_is_lost_or_doubled_on_the_way_in() {
    under_cuts("5.0", 2, false);
    under_cuts("3.1.1", 2, false);
}

#[test]
fn what_is_sent_while_the_other_broker_is_away_waits_even_over_our_own_restart() {
    let mut mosquitto = Mosquitto::start();
    let topic = "[[bridges.topics]]\nfilter = 'x/#'\ndirection = 'out'\n";
    mosquitto.stop();
    // It has never been connected, and yet its messages are kept.
    let mut ours = broker(mosquitto.address, "5.0", topic);
    publish_lines(ours.address(), "x/1", 1, 50);
    publish_lines(ours.address(), "x/2", 2, 50);
    ours.signal("-KILL");
    ours.wait();
    let folder = std::mem::replace(&mut ours.folder, tempfile::tempdir().unwrap());
    drop(ours);
    let config = std::fs::read_to_string(folder.path().join("dunlin.toml")).unwrap();
    let ours = Broker::with_config_in(folder, &config);
    ours.signal("-STOP"); // What it sends before there is a reader goes to nobody.
    mosquitto.start_again();
    let reader = Reader::start(mosquitto.address, "x/#", 2);
    ours.signal("-CONT");
    is_up(&ours, true);
    eventually("all have come", || reader.distinct() == 100);
    assert_eq!(reader.topics(), BTreeMap::from([("x/1".into(), 50), ("x/2".into(), 50)]));
}

#[test]
fn the_retain_flag_and_properties_go_over_and_the_qos_is_capped() {
    let mosquitto = Mosquitto::start();
    let topics =
        "[[bridges.topics]]\nfilter = '#'\ndirection = 'both'\nqos = 1\nlocal_prefix = 'site/'\nremote_prefix = 'plant/7/'\n";
    let ours = broker(mosquitto.address, "5.0", topics);
    is_up(&ours, true);
    for (from, to, sent, expected) in
        [(ours.address(), mosquitto.address, "site/a", "plant/7/a"), (mosquitto.address, ours.address(), "plant/7/b", "site/b")]
    {
        let arguments = ["-t", sent, "-q", "2", "-r", "-m", "x", "-V", "5", "-D", "publish", "user-property", "k", "v"];
        Side(from).publish(&[&arguments[..], &["-D", "publish", "content-type", "text"]].concat());
        let read = || Side(to).read(&["-t", expected, "-q", "2", "-V", "5", "-W", "1", "-C", "1", "-F", "%t %q %r %p %C %P"]);
        let mut last = String::new();
        eventually("it is retained there", || {
            last = read();
            !last.is_empty()
        });
        assert!(last.starts_with(&format!("{expected} 1 1 x text k:v")), "{last}");
    }
}

#[test]
fn its_state_is_told() {
    let mosquitto = Mosquitto::start();
    let line = Line::to(mosquitto.address);
    let ours = broker(line.address, "5.0", "[[bridges.topics]]\nfilter = 'x/#'\n");
    is_up(&ours, true);
    let state = |topic: &str, expected: &str| {
        eventually("the state is told", || Side(ours.address()).read(&["-t", topic, "-C", "1", "-W", "1"]).trim() == expected);
    };
    state("$SYS/broker/bridges/other/state", "1");
    state("$SYS/broker/connection/dunlin.other/state", "1");
    line.set_down(true);
    is_up(&ours, false);
    state("$SYS/broker/bridges/other/state", "0");
    line.set_down(false);
    is_up(&ours, true);
    // The session of a bridge is nobody else's.
    let (code, error) = Side(ours.address()).fails(&["-i", "$bridge/other", "-t", "a", "-m", "x", "-V", "5"]);
    assert_eq!(code, Some(133), "{error}");
}
