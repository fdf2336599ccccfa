use std::time::Duration;

use clap::Parser;

use super::scenario::{Plan, ScenarioCommand};
use crate::loadtest::{Pace, QoS, Scenario, Version};

#[derive(Debug, Parser)]
#[command(disable_help_flag = true, no_binary_name = true)]
struct Line {
    #[command(subcommand)]
    scenario: ScenarioCommand,
}

fn plan(line: &str) -> Result<Plan, String> {
    let line = Line::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
    line.scenario.plan()
}

#[test]
fn the_letters_are_those_of_emqtt_bench() {
    let line = "pub -h localhost -p 21999 -V 4 -c 7 -i 2 -I 10 -t a/%i -q 2 -s 100 -L 50 -u ada -P secret -k 30 -n 5 -r";
    let Plan { scenario, settings, .. } = plan(line).unwrap();
    let Scenario::Publish { publishers: 7, topic } = scenario else { panic!("{scenario:?}") };
    assert_eq!(topic, "a/%i");
    let (target, load) = (settings.target, settings.load);
    assert_eq!((target.host.as_str(), target.address.port(), target.version), ("localhost", 21999, Version::V4));
    assert_eq!((target.user.as_deref(), target.password.as_deref()), (Some("ada"), Some("secret")));
    assert_eq!((target.keep_alive, target.first), (30, 5));
    assert_eq!((load.qos, load.size, load.limit, load.retain), (QoS::ExactlyOnce, 100, Some(50), true));
    assert_eq!(load.pace, Pace::Every(Duration::from_millis(10)));
    assert_eq!(settings.connect_interval, Duration::from_millis(2));
}

#[test]
fn a_limit_alone_has_neither_a_duration_nor_a_warm_up() {
    let load = |line| plan(line).unwrap().settings.load;
    let times = |line| (load(line).limit, load(line).duration, load(line).warmup);
    let seconds = Duration::from_secs;
    assert_eq!(times("p2p"), (None, Some(seconds(10)), seconds(1)));
    assert_eq!(times("p2p -L 5"), (Some(5), None, seconds(0)));
    assert_eq!(times("p2p --duration 3s"), (None, Some(seconds(3)), seconds(1)));
    assert_eq!(times("p2p -L 5 --duration 3s --warmup 0s"), (Some(5), Some(seconds(3)), seconds(0)));
    assert_eq!(times("offline"), (Some(100_000), None, seconds(0)));
    assert_eq!(times("retained --duration 3s -L 20"), (Some(20), None, seconds(0)));
}

#[test]
fn a_closed_loop_is_the_default_and_excludes_an_open_one() {
    let pace = |line| plan(line).unwrap().settings.load.pace;
    assert_eq!(pace("fanin"), Pace::Window(100));
    assert_eq!(pace("fanin -F 3"), Pace::Window(3));
    assert_eq!(pace("fanin --rate 500"), Pace::Rate(500.0));
    assert_eq!(pace("fanin -I 0"), Pace::Window(100), "as in emqtt_bench: no interval, as fast as it goes");
    assert!(plan("fanin --window 3 --rate 500").is_err());
    assert!(plan("fanin --rate 500 -I 3").is_err());
    assert!(plan("fanin --rate -1").is_err());
}

#[test]
fn what_must_be_kept_is_asked_for_with_qos_1() {
    let qos = |line| plan(line).unwrap().settings.load.qos;
    assert_eq!(qos("offline"), QoS::AtLeastOnce);
    assert_eq!(qos("offline -q 2"), QoS::ExactlyOnce);
    assert_eq!(qos("shared"), QoS::AtMostOnce);
    assert!(plan("offline").unwrap().settings.persistent);
    let settings = plan("shared -q 2 --subscribe-qos 0").unwrap().settings;
    assert_eq!((settings.load.qos, settings.subscribe_qos), (QoS::ExactlyOnce, QoS::AtMostOnce));
}

#[test]
fn filters_of_groups_and_queues_are_made_from_their_names() {
    let filter = |line| match plan(line).unwrap().scenario {
        Scenario::Consumers { filter, .. } => filter,
        other => panic!("{other:?}"),
    };
    assert_eq!(filter("shared --group g"), "$share/g/{topics}");
    assert_eq!(filter("queue --name q"), "$queue/q/{topics}");
    assert_eq!(filter("queue --name q --filter $q/{topics}"), "$q/{topics}");
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    for (line, reason) in [
        ("p2p -s 27", "--size 27 is too small: 28 bytes tell which message it is"),
        ("p2p -c 0", "--count 0: from 1 to 10,000,000"),
        ("p2p --ssl", "TLS needs --cafile FILE, the authorities to trust, or --insecure"),
        ("retained -c 10 -L 5", "--limit: each publisher needs a message"),
        ("queue --keys 5", "--keys: each publisher needs one"),
        ("queue -V 4 --receive-maximum 5", "--receive-maximum: 3.1.1 has none"),
        ("wildcards --subscriptions 5", "--subscriptions: each client needs one"),
        ("wildcards --subscriptions 5000000000", "--subscriptions 5000000000: at most 100,000,000"),
        ("retained -L 5000000000", "--limit 5000000000: at most 100,000,000"),
        ("p2p -s 268435455", "--size 268435455 is too large: MQTT has room for 268369915 bytes"),
        ("pub --persistent", "--persistent: pub has no sessions that outlive their connections"),
        ("retained --persistent", "--persistent: retained has no sessions that outlive their connections"),
        ("wildcards --persistent", "--persistent: wildcards has no sessions that outlive their connections"),
    ] {
        assert_eq!(plan(line).unwrap_err(), reason, "{line}");
    }
    assert_eq!(plan("queue --receive-maximum 256").unwrap().settings.target.receive_maximum, Some(256));
    assert!(plan("queue --receive-maximum 0").unwrap_err().contains("0 is not in 1..=65535"));
    assert!(plan("p2p -V 3").unwrap_err().contains("invalid value '3'"));
}

#[test]
fn a_topic_is_no_longer_than_mqtt_can_say_for_any_client() {
    let long = "t".repeat(65_533);
    for scenario in ["pub", "sub"] {
        assert!(plan(&format!("{scenario} -c 100 -t {long}%i")).is_ok(), "65,535 bytes for the hundredth");
        let error = plan(&format!("{scenario} -c 101 -t {long}%i")).unwrap_err();
        assert_eq!(error, "--topic: 65536 bytes are too long for MQTT");
    }
}

#[test]
fn the_port_follows_from_what_is_spoken() {
    let port = |line| plan(line).unwrap().settings.target.address.port();
    assert_eq!(
        [port("conn"), port("conn --insecure"), port("conn --ws"), port("conn --ws --insecure")],
        [1883, 8883, 8083, 8084]
    );
}
