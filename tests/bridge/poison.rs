//! Messages that one of the brokers does not take: they are dropped, and what is behind them goes over.

use crate::mosquitto::Mosquitto;
use crate::support::{Broker, eventually};
use crate::topics::{Reader, Side, broker, is_up};

/// `-D publish user-property` so many times.
fn properties(count: usize) -> Vec<&'static str> {
    ["-D", "publish", "user-property", "name", "value"].repeat(count)
}

fn dropped(broker: &Broker, reason: &str) -> f64 {
    broker.metric(&format!("dunlin_bridge_messages_dropped_total{{bridge=\"other\",reason=\"{reason}\"}}"))
}

#[test]
fn a_message_for_which_the_other_broker_ends_the_connection_does_not_stop_the_bridge() {
    let deep = format!("x/{}", vec!["l"; 126].join("/"));
    let topics = "[[bridges.topics]]\nfilter = 'x/#'\ndirection = 'out'\nremote_prefix = 'p/q/'\n";
    for version in ["5.0", "3.1.1"] {
        let other = Broker::start();
        let mut ours = broker(other.address(), version, topics);
        is_up(&ours, true);
        let reader = Reader::start(other.address(), "p/q/#", 1);
        let here = Side(ours.address());
        here.publish(&["-t", "x/before", "-q", "1", "-m", "healthy"]);
        here.publish(&["-t", &deep, "-q", "1", "-m", "two levels too many there"]);
        here.publish(&["-t", &deep, "-q", "2", "-m", "two levels too many there"]);
        if version == "5.0" {
            // As many as it takes; the bridge's mark is one more.
            let arguments = ["-V", "mqttv5", "-t", "x/properties", "-q", "1", "-m", "bad"];
            here.publish(&[&arguments[..], &properties(64)].concat());
        }
        here.publish(&["-t", "x/behind", "-q", "1", "-m", "healthy"]);
        eventually("what is behind it comes", || reader.topics().contains_key("p/q/x/behind"));
        assert!(reader.topics().contains_key("p/q/x/before"), "{version}");
        let count = if version == "5.0" { 3.0 } else { 2.0 };
        assert_eq!(dropped(&ours, "rejected"), count, "{version}");
        let line = ours.wait_for_log("the other broker ends the connection whenever this message comes");
        assert!(line.contains("ERROR") && line.contains("x/l/l/l"), "{line}");
        assert_eq!(reader.topics().len(), 2, "{version}");
    }
}

#[test]
fn what_our_own_broker_does_not_take_does_not_stop_the_bridge() {
    let topics = "[[bridges.topics]]\nfilter = 'x/#'\ndirection = 'in'\nlocal_prefix = 'p/q/'\n";
    let deep = format!("x/{}", vec!["l"; 126].join("/"));
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large");
    std::fs::write(&large, vec![b'x'; 3 << 19]).unwrap();
    for version in ["5.0", "3.1.1"] {
        let mosquitto = Mosquitto::start();
        let ours = broker(mosquitto.address, version, topics);
        is_up(&ours, true);
        let reader = Reader::start(ours.address(), "p/q/#", 1);
        let there = Side(mosquitto.address);
        there.publish(&["-t", &deep, "-q", "1", "-m", "two levels too many here"]);
        for qos in ["0", "1", "2"] {
            there.publish(&["-t", "x/large", "-q", qos, "-f", large.to_str().unwrap()]);
        }
        let arguments = ["-V", "mqttv5", "-t", "x/properties", "-q", "1", "-m", "more than a client may have"];
        there.publish(&[&arguments[..], &properties(1200)].concat());
        there.publish(&["-t", "x/behind", "-q", "1", "-m", "healthy"]);
        eventually("what is behind it comes", || reader.topics().contains_key("p/q/x/behind"));
        assert!(reader.topics().contains_key("p/q/x/properties"), "{version}");
        assert_eq!(dropped(&ours, "rejected"), 1.0, "{version}");
        // One of 5.0 knows how much we take, and does not send it.
        assert_eq!(dropped(&ours, "too_large"), if version == "5.0" { 0.0 } else { 3.0 }, "{version}");
        assert_eq!(ours.metric("dunlin_bridge_reconnects_total{bridge=\"other\"}"), 0.0, "{version}");
        assert_eq!(reader.topics().len(), 2, "{version}");
    }
}
