//! Work queues with mosquitto's clients, of which each call is one step of a worker, and with rumqttc, which can hold back its
//! acknowledgements. Paho and MQTT.js are among the scripts.

use crate::program::{Program, messages, mosquitto, publish, subscribe};
use crate::support::Broker;

const LISTENER: &str = "[[listeners]]\nname = 'tcp'\nurl = 'tcp://127.0.0.1:0'\n";

fn jobs(keys: &str) -> Broker {
    Broker::with_config(&format!(
        "{LISTENER}[[queues]]\nname = 'jobs'\nbind = ['jobs/#']\nbackoff = ['50ms']\nmax_deliveries = 0\n{keys}\n"
    ))
}

#[test]
fn mosquitto_sub_is_a_worker() {
    let broker = jobs("");
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        let worker = ["-V", version, "-t", "$queue/jobs", "-q", "1", "-C", "3", "-F", "%t %p"];
        let crew = [subscribe(broker.address(), &worker), subscribe(broker.address(), &worker)];
        for number in 0..6 {
            publish(broker.address(), &["-V", version, "-t", "jobs/paint", "-q", "1", "-m", &number.to_string()]);
        }
        let mut all: Vec<_> = crew.into_iter().flat_map(|worker| messages(worker.succeed())).collect();
        all.sort();
        assert_eq!(all, (0..6).map(|number| format!("jobs/paint {number}")).collect::<Vec<_>>(), "{version}");
    }
}

#[test]
fn two_commands_take_a_message_and_say_that_it_is_done() {
    let broker = jobs("ack = 'explicit'\nprefetch = 1");
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        let send = |text: &str| publish(broker.address(), &["-V", version, "-t", "jobs/paint", "-q", "1", "-m", text]);
        let take = || {
            let worker = ["-V", version, "-i", "worker", "-t", "$queue/jobs/$lease/#", "-q", "1", "-C", "1", "-F", "%t %p"];
            let lines = Program::start(&mut mosquitto("mosquitto_sub", broker.address(), &worker)).succeed();
            let [line] = lines.as_slice() else { panic!("one message: {lines:?}") };
            let rest = line.strip_prefix("$queue/jobs/$lease/").expect("a lease");
            let (tag, rest) = rest.split_once('/').expect("a topic behind the tag");
            (tag.to_owned(), rest.strip_prefix("jobs/paint ").expect("the topic that was published to").to_owned())
        };
        let say = |verb: &str, tag: &str| {
            let topic = format!("$queue/jobs/${verb}/{tag}");
            publish(broker.address(), &["-V", version, "-i", "worker", "-q", "1", "-t", &topic, "-n"]);
        };
        send("first");
        let (tag, text) = take();
        assert_eq!(text, "first");
        say("ack", &tag);
        send("second");
        let (tag, text) = take();
        assert_eq!(text, "second", "the first one is done");
        // Said by another client, it means nothing.
        let topic = format!("$queue/jobs/$ack/{tag}");
        publish(broker.address(), &["-V", "mqttv311", "-i", "stranger", "-q", "1", "-t", &topic, "-n"]);
        let (tag, text) = take();
        assert_eq!(text, "second", "nobody who may has said that it is done");
        say("ack", &tag);
    }
}

#[test]
fn a_dead_letter_tells_mosquitto_sub_its_story() {
    let broker = jobs("ack = 'explicit'");
    publish(broker.address(), &["-V", "mqttv5", "-t", "jobs/paint", "-q", "1", "-m", "no colour"]);
    // Its session, and so its lease, outlives the command.
    let mut other = Program::start(&mut mosquitto(
        "mosquitto_sub",
        broker.address(),
        &["-V", "mqttv5", "-c", "-x", "60", "-i", "kept", "-t", "$queue/jobs", "-q", "1", "-C", "1", "-F", "%P"],
    ));
    let line = other.expect_line("q-tag:");
    let tag = line.split(' ').find_map(|pair| pair.strip_prefix("q-tag:")).expect("a tag").to_owned();
    other.succeed();
    publish(
        broker.address(),
        &["-V", "mqttv5", "-c", "-i", "kept", "-q", "1", "-t", &format!("$queue/jobs/$reject/{tag}"), "-n"],
    );
    let reader = ["-V", "mqttv5", "-t", "$dlq/jobs", "-q", "1", "-C", "1", "-F", "%t %p %P"];
    let lines = Program::start(&mut mosquitto("mosquitto_sub", broker.address(), &reader)).succeed();
    let line = lines.first().expect("the dead letter");
    assert!(line.starts_with("jobs/paint no colour "), "{line}");
    for part in ["q-dead-reason:rejected", "q-dead-queue:jobs", "q-dead-last-client:kept", "q-attempt:1"] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn rumqttc_holds_its_acknowledgement_back() {
    use rumqttc::{Client, Event, MqttOptions, Packet, Publish, QoS};

    let broker = jobs("ack_timeout = '500ms'");
    let mut options = MqttOptions::new("worker", "127.0.0.1", broker.address().port());
    options.set_manual_acks(true);
    let (client, mut connection) = Client::new(options, 10);
    client.subscribe("$queue/jobs", QoS::AtLeastOnce).expect("the queue has room");
    let granted = connection.iter().find(|event| matches!(event, Ok(Event::Incoming(Packet::SubAck(_)))));
    assert!(granted.is_some());
    publish(broker.address(), &["-t", "jobs/paint", "-q", "1", "-m", "x"]);
    let mut next = || -> Publish {
        let found = connection.iter().find_map(|event| match event.expect("the connection stays") {
            Event::Incoming(Packet::Publish(publish)) => Some(publish),
            _ => None,
        });
        found.expect("a message comes")
    };
    let first = next();
    let second = next();
    assert_eq!((&*second.payload, second.dup), (&b"x"[..], false), "not acknowledged in time, it comes again");
    assert_ne!(first.pkid, second.pkid);
    client.ack(&first).expect("the queue has room");
    client.ack(&second).expect("the queue has room");
    publish(broker.address(), &["-t", "jobs/paint", "-q", "1", "-m", "y"]);
    assert_eq!(&*next().payload, b"y", "acknowledged, it does not");
}

#[test]
fn rumqttc_of_version_5_reads_what_the_queue_tells() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::{Client, Event, Incoming, MqttOptions};

    let broker = jobs("ack_timeout = '500ms'");
    let mut options = MqttOptions::new("worker", "127.0.0.1", broker.address().port());
    options.set_manual_acks(true);
    let (client, mut connection) = Client::new(options, 10);
    client.subscribe("$queue/jobs", QoS::AtLeastOnce).expect("the queue has room");
    let granted = connection.iter().find(|event| matches!(event, Ok(Event::Incoming(Incoming::SubAck(_)))));
    assert!(granted.is_some());
    publish(broker.address(), &["-t", "jobs/paint", "-q", "1", "-m", "x"]);
    let mut next = || {
        let found = connection.iter().find_map(|event| match event.expect("the connection stays") {
            Event::Incoming(Incoming::Publish(publish)) => Some(publish),
            _ => None,
        });
        found.expect("a message comes")
    };
    for attempt in ["1", "2"] {
        let got = next();
        let told = got.properties.clone().expect("properties").user_properties;
        assert!(told.contains(&("q-attempt".into(), attempt.into())), "{told:?}");
        if attempt == "2" {
            client.ack(&got).expect("the queue has room");
        }
    }
    publish(broker.address(), &["-t", "jobs/paint", "-q", "1", "-m", "y"]);
    assert_eq!(&*next().payload, b"y");
}
