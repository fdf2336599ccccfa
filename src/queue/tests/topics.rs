use proptest::prelude::{Strategy, *};

use super::super::topics::*;
use super::*;

fn tag() -> Tag {
    "AAAAAAAAAAEAAaqqqqqq".parse().unwrap()
}

fn main_queue(name: &str) -> QueueRef<'_> {
    QueueRef { name, part: Part::Main }
}

fn topic(name: &str) -> Target<'_> {
    Target::Topic(crate::packet::TopicName::new(name).unwrap())
}

fn put<'a>(name: &'a str, topic: &'a str) -> Target<'a> {
    let whole = Box::leak(format!("$queue/{name}/$put/{topic}").into_boxed_str());
    let name_of = |text| crate::packet::TopicName::new(text).unwrap();
    Target::Put { name, topic: name_of(topic), whole: name_of(whole) }
}

#[test]
fn publishing() {
    let seconds = |number| Some(Duration::from_secs(number));
    let settle = |settle, tag| Target::Settle { queue: main_queue("jobs"), tag, settle };
    let plain = |target| PublishTopic { dedup_id: None, delay: None, target };
    let text = tag().to_string();
    for (topic, expected) in [
        ("$queue/jobs/$put/a/b".to_owned(), plain(put("jobs", "a/b"))),
        (format!("$queue/jobs/$ack/{text}"), plain(settle(Settle::Ack, Some(tag())))),
        ("$queue/jobs/$ack".to_owned(), plain(settle(Settle::Ack, None))),
        (format!("$queue/jobs/$nack/{text}"), plain(settle(Settle::Nack(None), Some(tag())))),
        (format!("$queue/jobs/$nack/{text}/30"), plain(settle(Settle::Nack(seconds(30)), Some(tag())))),
        ("$queue/jobs/$nack/30".to_owned(), plain(settle(Settle::Nack(seconds(30)), None))),
        (format!("$queue/jobs/$reject/{text}"), plain(settle(Settle::Reject, Some(tag())))),
        (format!("$queue/jobs/$extend/{text}/60"), plain(settle(Settle::Extend(Duration::from_secs(60)), Some(tag())))),
        ("$delayed/5/a/b".to_owned(), PublishTopic { dedup_id: None, delay: seconds(5), target: topic("a/b") }),
        ("$dedup/x/a/b".to_owned(), PublishTopic { dedup_id: Some("x"), delay: None, target: topic("a/b") }),
        (
            "$delayed/5/$dedup/x/$queue/jobs/$put/a".to_owned(),
            PublishTopic { dedup_id: Some("x"), delay: seconds(5), target: put("jobs", "a") },
        ),
    ] {
        assert_eq!(parse_publish(&topic), Ok(Some(expected)), "{topic}");
    }
    let dead = parse_publish("$dlq/jobs/$ack").unwrap().unwrap().target;
    let queue = QueueRef { name: "jobs", part: Part::Dead };
    assert_eq!(dead, Target::Settle { queue, tag: None, settle: Settle::Ack });
    for ordinary in ["a", "$SYS/x", "queue/jobs", "/$queue", "$queues/x", "a/$queue/b"] {
        assert_eq!(parse_publish(ordinary), Ok(None), "{ordinary}");
    }
}

#[test]
fn publishing_what_is_none() {
    let text = tag().to_string();
    for (topic, error) in [
        ("$queue", TopicError::Name(InvalidQueueName::Empty)),
        ("$queue/", TopicError::Name(InvalidQueueName::Empty)),
        ("$queue/$x/$put/a", TopicError::Name(InvalidQueueName::Dollar)),
        ("$queue/a\tb/$put/a", TopicError::Name(InvalidQueueName::Control)),
        ("$queue/jobs", TopicError::NoVerb),
        ("$queue/jobs/a", TopicError::NoVerb),
        ("$queue/jobs/$lease/x/a", TopicError::NoVerb),
        ("$queue/jobs/$put", TopicError::Topic(crate::packet::InvalidTopic::Empty)),
        ("$queue/jobs/$put/", TopicError::Topic(crate::packet::InvalidTopic::Empty)),
        ("$queue/jobs/$put/$SYS/x", TopicError::Inner),
        ("$dlq/jobs/$put/a", TopicError::PutToDead),
        ("$queue/jobs/$ack/x", TopicError::Tag(InvalidTag)),
        ("$queue/jobs/$ack/5", TopicError::TooLong),
        (&format!("$queue/jobs/$ack/{text}/5"), TopicError::TooLong),
        (&format!("$queue/jobs/$nack/{text}/5/5"), TopicError::TooLong),
        (&format!("$queue/jobs/$nack/{text}/x"), TopicError::Seconds),
        (&format!("$queue/jobs/$nack/{text}/-5"), TopicError::Seconds),
        (&format!("$queue/jobs/$nack/{text}/"), TopicError::Seconds),
        (&format!("$queue/jobs/$extend/{text}"), TopicError::NoSeconds),
        ("$delayed/x/a", TopicError::Seconds),
        ("$delayed/4294967296/a", TopicError::Seconds),
        ("$delayed/5", TopicError::Inner),
        ("$delayed/5/$SYS/a", TopicError::Inner),
        ("$delayed/5/$delayed/5/a", TopicError::Repeated),
        ("$delayed/5/$queue/jobs/$ack", TopicError::Inner),
        ("$dedup//a", TopicError::DedupId),
        ("$dedup/x", TopicError::Inner),
    ] {
        assert_eq!(parse_publish(topic), Err(error), "{topic}");
    }
    let long = "x".repeat(129);
    assert_eq!(parse_publish(&format!("$queue/{long}/$put/a")), Err(TopicError::Name(InvalidQueueName::TooLong)));
}

#[test]
fn subscribing() {
    let bound = |filter| Form::Bound(crate::packet::TopicFilter::new(filter).unwrap());
    for (filter, part, form) in [
        ("$queue/jobs", Part::Main, Form::Plain),
        ("$queue/jobs/orders/+/#", Part::Main, bound("orders/+/#")),
        ("$queue/jobs/#", Part::Main, bound("#")),
        ("$queue/jobs/$lease/#", Part::Main, Form::Lease),
        ("$dlq/jobs", Part::Dead, Form::Plain),
        ("$dlq/jobs/$lease/#", Part::Dead, Form::Lease),
    ] {
        let expected = SubscribeFilter { queue: QueueRef { name: "jobs", part }, form };
        assert_eq!(parse_subscribe(filter), Ok(Some(expected)), "{filter}");
    }
    for ordinary in ["#", "+/jobs", "$SYS/#", "$share/g/a", "$queues"] {
        assert_eq!(parse_subscribe(ordinary), Ok(None), "{ordinary}");
    }
    for wrong in [
        "$queue",
        "$queue/+",
        "$queue/#",
        "$queue/jobs/$ack/#",
        "$queue/jobs/$lease",
        "$queue/jobs/$lease/a",
        "$dlq/jobs/a",
        "$dlq/#",
        "$delayed/5/a",
        "$dedup/#",
    ] {
        assert!(parse_subscribe(wrong).is_err(), "{wrong}");
    }
    assert!(parse_subscribe("$queue/jobs/a#").is_err());
}

#[test]
fn a_lease_topic_tells_the_tag() {
    let text = lease_topic(main_queue("jobs"), tag(), "a/b");
    assert_eq!(text, format!("$queue/jobs/$lease/{}/a/b", tag()));
}

#[test]
fn delays_in_properties() {
    assert_eq!(properties::parse_delay("30s"), Ok(Duration::from_secs(30)));
    assert_eq!(properties::parse_delay("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(properties::parse_delay("7"), Ok(Duration::from_secs(7)));
    for wrong in ["", "-1s", "soon", "1.5s"] {
        assert!(properties::parse_delay(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_a_subscription_asks_for_in_properties() {
    assert_eq!(properties::parse_ack("explicit"), Some(AckMode::Explicit));
    assert_eq!((properties::parse_ack("auto"), properties::parse_prefetch("0")), (None, None));
    assert_eq!((properties::parse_prefetch("65535"), properties::parse_prefetch("65536")), (Some(65_535), None));
}

fn piece() -> impl Strategy<Value = String> {
    let known =
        ["$queue", "$dlq", "$delayed", "$dedup", "$put", "$ack", "$nack", "$extend", "$lease", "#", "+", "jobs", "5", "", "a"];
    prop_oneof![
        8 => prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        2 => "[0-9A-Za-z_-]{20}",
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn whatever_is_parsed_never_panics_and_holds_what_it_names(pieces in prop::collection::vec(piece(), 0..7)) {
        let text = pieces.join("/");
        if let Ok(Some(publish)) = parse_publish(&text) {
            match publish.target {
                Target::Topic(topic) => prop_assert!(!topic.is_dollar() && text.ends_with(topic.as_str())),
                Target::Put { name, topic, whole } => {
                    prop_assert!(QueueName::new(name).is_ok() && !topic.is_dollar());
                    prop_assert_eq!(whole.as_str(), format!("$queue/{name}/$put/{topic}"));
                    prop_assert!(text.ends_with(whole.as_str()));
                }
                Target::Settle { queue, tag, .. } => {
                    prop_assert!(QueueName::new(queue.name).is_ok());
                    prop_assert!(tag.is_none_or(|tag| text.contains(&tag.to_string())));
                }
            }
        }
        if let Ok(Some(subscribe)) = parse_subscribe(&text) {
            prop_assert!(QueueName::new(subscribe.queue.name).is_ok());
        }
    }
}
