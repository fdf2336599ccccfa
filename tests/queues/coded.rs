//! What the reason code of a PUBACK or PUBREC means for the message.

use dunlin::packet::QoS;

use crate::house::{ack, consumer, drain, enter, fill, jobs, payloads, refuse, subscribe, take, work_until};

#[test]
fn a_failure_counts_and_is_tried_again_as_a_new_publish() {
    let broker = jobs("");
    let mut publisher = enter(&broker, "publisher");
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for code in [0x80, 0x83, 0x91] {
            let mut worker = enter(&broker, "worker");
            worker.subscribe("$queue/jobs", qos);
            fill(&mut publisher, "jobs/a", &["x"]);
            let first = take(&mut worker);
            refuse(&mut worker, &first, code);
            let second = take(&mut worker);
            assert_eq!((first.attempt(), second.attempt(), second.dup), (1, 2, false), "{code:#x}");
            assert_eq!(first.property("q-id"), second.property("q-id"));
            assert_ne!(first.tag(), second.tag());
            refuse(&mut worker, &second, 0x90); // out of the way
            crate::house::leave(worker);
        }
    }
}

#[test]
fn a_failed_message_prefers_another_consumer() {
    let broker = jobs("");
    let mut publisher = enter(&broker, "publisher");
    let mut crew = [consumer(&broker, "ada", "$queue/jobs"), consumer(&broker, "bob", "$queue/jobs")];
    fill(&mut publisher, "jobs/a", &["x"]);
    let got = crew.each_mut().map(drain);
    let has = usize::from(got[0].is_empty());
    refuse(&mut crew[has], &got[has][0], 0x80);
    let again = take(&mut crew[1 - has]);
    assert_eq!((again.payload.as_str(), again.attempt()), ("x", 2));
}

#[test]
fn not_authorized_is_for_others_and_counts_no_attempt() {
    let broker = jobs("max_deliveries = 1");
    let mut publisher = enter(&broker, "publisher");
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    fill(&mut publisher, "jobs/a", &["x"]);
    let got = take(&mut worker);
    refuse(&mut worker, &got, 0x87);
    fill(&mut publisher, "jobs/a", &["y"]);
    assert_eq!(payloads(&drain(&mut worker)), ["y"], "x is nothing for it any more, and others flow");
    let mut other = consumer(&broker, "other", "$queue/jobs");
    let got = take(&mut other);
    assert_eq!((got.payload.as_str(), got.attempt()), ("x", 1));
    ack(&mut other, &got);
}

#[test]
fn a_busy_consumer_gets_less_and_no_attempt_counts() {
    let broker = jobs("prefetch = 4\nmax_deliveries = 1");
    let mut publisher = enter(&broker, "publisher");
    let mut busy = consumer(&broker, "busy", "$queue/jobs");
    fill(&mut publisher, "jobs/a", &["1", "2", "3", "4", "5", "6"]);
    let first = drain(&mut busy);
    assert_eq!(first.len(), 4);
    first.iter().for_each(|got| refuse(&mut busy, got, 0x97));
    // Its window is one message now, and it rests before that.
    let got = take(&mut busy);
    assert_eq!(got.attempt(), 1);
    assert_eq!(drain(&mut busy), []);
    // One who is not busy gets the rest, and loses nothing by the refusals.
    let mut free = consumer(&broker, "free", "$queue/jobs");
    let others = drain(&mut free);
    assert!(others.iter().all(|got| got.attempt() == 1));
    assert_eq!(others.len(), 4);
    // A success opens the window again.
    others.iter().for_each(|got| ack(&mut free, got));
    ack(&mut busy, &got);
    drain(&mut free);
    crate::house::leave(free);
    fill(&mut publisher, "jobs/a", &["7", "8", "9"]);
    assert!(drain(&mut busy).len() > 1);
}

#[test]
fn busy_too_often_is_a_failure() {
    let broker = jobs("max_busy = 2\nmax_deliveries = 1");
    let mut publisher = enter(&broker, "publisher");
    let mut dead = consumer(&broker, "dead", "$dlq/jobs");
    let mut busy = consumer(&broker, "busy", "$queue/jobs");
    fill(&mut publisher, "jobs/a", &["x"]);
    for _ in 0..3 {
        let got = take(&mut busy);
        assert_eq!(got.attempt(), 1);
        refuse(&mut busy, &got, 0x97);
    }
    let letter = take(&mut dead);
    assert_eq!((letter.property("q-dead-reason"), letter.property("q-dead-last-code")), (Some("max-deliveries"), Some("151")));
}

#[test]
fn a_wrong_message_goes_to_the_dead_letters_at_once() {
    let broker = jobs("");
    let mut publisher = enter(&broker, "publisher");
    let mut dead = consumer(&broker, "dead", "$dlq/jobs");
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for (code, told) in [(0x90, "144"), (0x99, "153")] {
            let mut worker = enter(&broker, "worker");
            worker.subscribe("$queue/jobs", qos);
            fill(&mut publisher, "jobs/a", &["wrong"]);
            let got = take(&mut worker);
            refuse(&mut worker, &got, code);
            let letter = take(&mut dead);
            ack(&mut dead, &letter);
            assert_eq!((letter.payload.as_str(), letter.property("q-dead-reason")), ("wrong", Some("rejected")));
            assert_eq!((letter.property("q-dead-attempts"), letter.property("q-dead-last-code")), (Some("1"), Some(told)));
            assert_eq!(drain(&mut worker), []);
            crate::house::leave(worker);
        }
    }
}

#[test]
fn with_explicit_settling_a_refusal_fails_and_a_success_frees_the_window_only() {
    let broker = jobs("ack = \"explicit\"\nprefetch = 2");
    let mut publisher = enter(&broker, "publisher");
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    fill(&mut publisher, "jobs/a", &["1", "2", "3"]);
    let got = drain(&mut worker);
    assert_eq!(payloads(&got), ["1", "2"]);
    ack(&mut worker, &got[0]);
    assert_eq!(drain(&mut worker), [], "unsettled messages count for the window too");
    refuse(&mut worker, &got[1], 0x80);
    let next = take(&mut worker);
    assert!(["2", "3"].contains(&&*next.payload));
    worker.cut();
    let mut other = enter(&broker, "other");
    assert_eq!(subscribe(&mut other, "$queue/jobs", QoS::AtLeastOnce, &[("q-prefetch", "3")]).reason, 1);
    let mut all: Vec<String> = (0..3).map(|_| take(&mut other).payload).collect();
    all.sort();
    assert_eq!(all, ["1", "2", "3"], "nothing was settled");
}

#[test]
fn a_consumer_that_refuses_everything_does_not_keep_the_work_from_others() {
    let broker = jobs("max_deliveries = 10\nbackoff = [\"10ms\"]");
    let mut publisher = enter(&broker, "publisher");
    let names: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let mut broken = consumer(&broker, "broken", "$queue/jobs");
    let mut good = consumer(&broker, "good", "$queue/jobs");
    let mut dead = consumer(&broker, "dead", "$dlq/jobs");
    fill(&mut publisher, "jobs/a", &names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut done = Vec::new();
    while done.len() < names.len() {
        for got in drain(&mut broken) {
            refuse(&mut broken, &got, 0x80);
        }
        for got in drain(&mut good) {
            ack(&mut good, &got);
            done.push(got.payload);
        }
    }
    done.sort_by_key(|name| name.parse::<u32>().unwrap());
    assert_eq!(done, names);
    assert_eq!(drain(&mut dead), [], "nothing died of the broken one");
    fill(&mut publisher, "jobs/a", &["last"]);
    broken.cut();
    assert_eq!(work_until(&mut good, "last").last().map(String::as_str), Some("last"));
}
