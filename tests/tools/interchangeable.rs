//! The same command line, given to mosquitto's clients and to ours, yields the same.

use serde_json::Value;

use crate::support::Broker;
use crate::tool::{BOTH, Whose};

const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

/// The output of both tools for a message that both tools publish, four times; times differ, so there must be none in it.
fn same_output(subscriber: &[&str], publisher: &[&str]) -> String {
    let broker = Broker::start();
    let mut outputs = Vec::new();
    for reader in BOTH {
        for writer in BOTH {
            let running = reader.subscribe(&broker, subscriber);
            writer.publish(&broker, publisher);
            outputs.push((reader, writer, running.output()));
        }
    }
    let expected = outputs.last().unwrap().2.clone();
    for (reader, writer, output) in outputs {
        assert_eq!(output, expected, "{reader:?} from {writer:?}: sub {subscriber:?}, pub {publisher:?}");
    }
    assert_eq!(expected.0, Some(0));
    expected.1
}

#[test]
fn every_version_and_qos_prints_the_same() {
    for version in VERSIONS {
        for qos in ["0", "1", "2"] {
            let output = same_output(
                &["-t", "a/+", "-q", qos, "-V", version, "-C", "1", "-F", "%t|%q|%r|%l|%p|%x|%X|%%|[%8t][%-8t][%.2t][%05l]"],
                &["-t", "a/b", "-q", qos, "-V", version, "-m", "hello"],
            );
            assert!(output.starts_with(&format!("a/b|{qos}|0|5|hello|")), "{output}");
        }
    }
}

#[test]
fn plain_and_verbose_and_without_a_line_end() {
    assert_eq!(same_output(&["-t", "#", "-C", "1"], &["-t", "a", "-m", "x y"]), "x y\n");
    assert_eq!(same_output(&["-t", "#", "-C", "1", "-v"], &["-t", "a", "-m", "x y"]), "a x y\n");
    assert_eq!(same_output(&["-t", "#", "-C", "1", "-v", "-N"], &["-t", "a", "-m", "x"]), "a x");
    assert_eq!(same_output(&["-t", "#", "-C", "1", "-v"], &["-t", "a", "-n"]), "a (null)\n");
    assert_eq!(same_output(&["-t", "#", "-C", "1"], &["-t", "a", "-n"]), "");
    assert_eq!(same_output(&["-t", "#", "-C", "3"], &["-t", "a", "-m", "x", "--repeat", "3"]), "x\nx\nx\n");
    assert_eq!(same_output(&["-t", "#", "-C", "1", "-T", "b", "-U", "c"], &["-t", "a", "-m", "-5"]), "-5\n");
}

#[test]
fn properties_go_through() {
    let properties = [
        ["publish", "content-type", "text/plain"],
        ["publish", "response-topic", "re/ply"],
        ["publish", "correlation-data", "c0"],
        ["publish", "payload-format-indicator", "1"],
        ["publish", "message-expiry-interval", "3600"],
    ];
    let mut publisher = vec!["-V", "mqttv5", "-t", "a", "-m", "x", "-q", "1"];
    properties.iter().for_each(|property| publisher.extend([&["-D"][..], property].concat()));
    publisher.extend(["-D", "publish", "user-property", "k", "v", "-D", "publish", "user-property", "k", "w"]);
    let format = "%C|%R|%D|%F|%P|%S|[%A][%3A]";
    let subscriber =
        ["-V", "mqttv5", "-t", "a", "-q", "1", "-C", "1", "-F", format, "-D", "subscribe", "subscription-identifier", "7"];
    let output = same_output(&subscriber, &publisher);
    assert!(output.starts_with("text/plain|re/ply|c0|1|k:v k:w|7|[]"), "{output}");
}

#[test]
fn json_says_the_same() {
    let broker = Broker::start();
    for (format, payload) in [("%j", "say \"hi\" \\ there"), ("%J", "{\"a\": [1, 2.5, \"x y\"]}")] {
        let mut seen = Vec::new();
        for reader in BOTH {
            let arguments = ["-V", "mqttv5", "-t", "j", "-q", "1", "-C", "1", "-F", format];
            let running = reader.subscribe(&broker, &arguments);
            let property = ["-D", "publish", "user-property", "k", "v", "-D", "publish", "content-type", "json"];
            Whose::Ours.publish(&broker, &[&["-V", "mqttv5", "-t", "j", "-q", "1", "-m", payload], &property[..]].concat());
            let mut value: Value = serde_json::from_str(&running.output().1).unwrap();
            let time = value.as_object_mut().unwrap().remove("tst").unwrap();
            assert_eq!(time.as_str().unwrap().len(), "2026-01-01T00:00:00.000000Z+0000".len(), "{reader:?}");
            seen.push(value);
        }
        assert_eq!(seen[0], seen[1], "{format}");
        assert_eq!(seen[0]["properties"]["user-properties"]["k"], "v");
    }
}

#[test]
fn lines_and_files_and_standard_input_are_messages() {
    let broker = Broker::start();
    let file = broker.folder.path().join("payload");
    std::fs::write(&file, b"from\na file\0").unwrap();
    let file = file.display().to_string();
    for writer in BOTH {
        for (arguments, input, expected) in [
            (vec!["-l"], &b"one\ntwo\n\nlast"[..], "one|two||last|"),
            (vec!["-s"], b"one\ntwo\n", "one\ntwo\n|"),
            (vec!["-f", &file], b"", "from\na file\0|"),
        ] {
            let count = expected.matches('|').count().to_string();
            for qos in ["0", "2"] {
                let running = Whose::Ours.subscribe(&broker, &["-t", "in", "-q", "2", "-C", &count, "-N", "-F", "%p|"]);
                let (code, ..) =
                    writer.run("pub", broker.address(), &[&["-t", "in", "-q", qos], &arguments[..]].concat(), input);
                assert_eq!((code, running.output().1.as_str()), (Some(0), expected), "{writer:?} {arguments:?}");
            }
        }
    }
}

#[test]
fn retained_messages_are_told_apart() {
    let broker = Broker::start();
    for reader in BOTH {
        for topic in ["r/1", "r/2", "r/3"] {
            Whose::Ours.publish(&broker, &["-t", topic, "-r", "-q", "1", "-m", topic]);
        }
        let run = |arguments: &[&str]| reader.run("sub", broker.address(), &[&["-t", "r/#"], arguments].concat(), b"");
        let (code, output, _) = run(&["-W", "1", "-R"]);
        assert_eq!((code, output.as_str()), (Some(27), ""), "{reader:?}");
        let (code, output, _) = run(&["-C", "3", "-F", "%t %r", "-T", "r/9"]);
        assert_eq!((code, output.lines().count()), (Some(0), 3), "{reader:?}: {output}");
        let (_, output, _) = run(&["-W", "1", "--retained-only", "-T", "r/2", "-v"]);
        assert_eq!(output.lines().count(), 2, "{reader:?}: {output}");
        run(&["-W", "1", "--remove-retained", "-T", "r/2"]);
        let (_, output, _) = run(&["-W", "1", "-v"]);
        assert_eq!(output, "r/2 r/2\n", "{reader:?}: only what was filtered out is left");
    }
}

#[test]
fn exit_codes_are_the_same() {
    let broker = Broker::with_config("[[listeners]]\nname = 'tcp'\nurl = 'tcp://127.0.0.1:0'\nallow_anonymous = false\n");
    for version in VERSIONS {
        let mut codes = Vec::new();
        for whose in BOTH {
            let publish = whose.run("pub", broker.address(), &["-V", version, "-t", "a", "-m", "x"], b"").0;
            let subscribe = whose.run("sub", broker.address(), &["-V", version, "-t", "a"], b"").0;
            codes.push((publish, subscribe));
        }
        assert_eq!(codes[0], codes[1], "{version}: refused");
    }
    // Nothing listens at port 1.
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let codes = BOTH.map(|whose| whose.run("pub", nowhere, &["-t", "a", "-m", "x"], b"").0);
    assert_eq!(codes, [Some(1), Some(1)]);
}
