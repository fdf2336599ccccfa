use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::broker::{OverloadConfig, Protection, Quotas, Rates};
use crate::metrics::{DropReason, Limit, PacketType};
use crate::session::Limits;

fn broker() -> (Exporter, Metrics) {
    let exporter = Exporter::new();
    let metrics = exporter.metrics();
    (exporter, metrics)
}

/// A scrape, checked as Prometheus would: each family is announced once with HELP and TYPE before its samples, its samples stand
/// together, no series is there twice, counters and only counters end in `_total`, values are numbers.
fn scrape(exporter: &Exporter, metrics: &Metrics) -> BTreeMap<String, f64> {
    let text = exporter.render(metrics);
    let (mut series, mut families) = (BTreeMap::new(), BTreeSet::new());
    let (mut helped, mut family, mut kind) = ("", "", "");
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = help.split_once(' ').expect("a help has a text").0;
        } else if let Some(declared) = line.strip_prefix("# TYPE ") {
            (family, kind) = declared.split_once(' ').unwrap();
            assert_eq!(family, helped, "TYPE without HELP");
            assert!(families.insert(family), "{family} is announced twice");
            assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
            assert_eq!(kind == "counter", family.ends_with("_total"), "{line}");
            assert!(family.starts_with("dunlin_") || family.starts_with("process_"), "{line}");
        } else {
            let (id, value) = line.rsplit_once(' ').unwrap();
            let name = id.split('{').next().unwrap();
            let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} stands under {family}"));
            assert!(suffix.is_empty() || kind == "histogram" && matches!(suffix, "_bucket" | "_sum" | "_count"), "{line}");
            assert!(series.insert(id.to_owned(), value.parse().unwrap()).is_none(), "{id} is there twice");
        }
    }
    series
}

#[test]
fn a_scrape_of_an_idle_broker_is_well_formed_and_shows_zeros() {
    let (exporter, metrics) = broker();
    let series = scrape(&exporter, &metrics);
    assert_eq!(series[r#"dunlin_packets_received_total{type="publish"}"#], 0.0);
    assert_eq!(series[r#"dunlin_limit_hits_total{limit="max_connections"}"#], 0.0);
    assert_eq!(series["dunlin_publish_to_ack_seconds_count"], 0.0);
    assert_eq!(series[&format!(r#"dunlin_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION"))], 1.0);
    assert!(series.keys().all(|id| !id.starts_with("dunlin_connacks")), "a code that never was has no series");
}

#[test]
fn counters_and_gauges_follow_the_metrics_over_scrapes() {
    let (exporter, metrics) = broker();
    for round in 1..=3 {
        let mut batch = Batch::default();
        batch.packet_received(PacketType::Publish);
        batch.publish_received(1, 100);
        batch.bytes_received(110);
        batch.dropped(DropReason::QueueFull, 2);
        batch.queued(1, 100);
        metrics.add(&mut batch);
        metrics.sessions.online.increment();
        metrics.limit_hits.count(Limit::MaxPacketSize);

        let series = scrape(&exporter, &metrics);
        assert_eq!(series[r#"dunlin_packets_received_total{type="publish"}"#], f64::from(round));
        assert_eq!(series[r#"dunlin_publishes_received_total{qos="1"}"#], f64::from(round));
        assert_eq!(series["dunlin_payload_received_bytes_total"], f64::from(round * 100));
        assert_eq!(series["dunlin_received_bytes_total"], f64::from(round * 110));
        assert_eq!(series[r#"dunlin_messages_dropped_total{reason="queue_full"}"#], f64::from(round * 2));
        assert_eq!(series["dunlin_queued_bytes"], f64::from(round * 100));
        assert_eq!(series[r#"dunlin_sessions{state="online"}"#], f64::from(round));
        assert_eq!(series[r#"dunlin_limit_hits_total{limit="max_packet_size"}"#], f64::from(round));
    }
    metrics.sessions.online.add(-3);
    assert_eq!(scrape(&exporter, &metrics)[r#"dunlin_sessions{state="online"}"#], 0.0);
}

#[test]
fn a_listener_has_its_series_from_the_scrape_after_its_first_mention() {
    let (exporter, metrics) = broker();
    scrape(&exporter, &metrics);
    let mut open = metrics.listener("tcp").accept();
    open.connected(5);
    let _pending = metrics.listener("odd \"name\"\n").accept();
    for _ in 0..2 {
        let series = scrape(&exporter, &metrics);
        assert_eq!(series[r#"dunlin_connections{listener="tcp",version="5.0"}"#], 1.0);
        assert_eq!(series[r#"dunlin_connections{listener="tcp",version="3.1.1"}"#], 0.0);
        assert_eq!(series[r#"dunlin_connections_total{listener="tcp"}"#], 1.0);
        assert_eq!(series[r#"dunlin_connections_pending{listener="odd \"name\"\n"}"#], 1.0);
    }
}

#[test]
fn reason_codes_are_named_and_unknown_ones_share_a_series() {
    let (exporter, metrics) = broker();
    metrics.connacks_sent.count(0x00);
    metrics.connacks_sent.count(0x86);
    metrics.disconnects_sent.count(0x8E);
    metrics.disconnects_received.count(0x7E);
    metrics.disconnects_received.count(0x7F);
    scrape(&exporter, &metrics);
    metrics.disconnects_sent.count(0x8E);
    metrics.disconnects_received.count(0x7F);
    let series = scrape(&exporter, &metrics);
    assert_eq!(series[r#"dunlin_connacks_sent_total{reason="success"}"#], 1.0);
    assert_eq!(series[r#"dunlin_connacks_sent_total{reason="bad_user_name_or_password"}"#], 1.0);
    assert_eq!(series[r#"dunlin_disconnects_sent_total{reason="session_taken_over"}"#], 2.0);
    assert_eq!(series[r#"dunlin_disconnects_received_total{reason="unknown"}"#], 3.0);
}

#[test]
fn latencies_fall_into_their_buckets() {
    let (exporter, metrics) = broker();
    for seconds in [0.000_01, 0.000_3, 0.000_3, 100.0] {
        metrics.latency.publish_to_ack.record(seconds);
    }
    let series = scrape(&exporter, &metrics);
    let bucket = |bound: &str| series[&format!(r#"dunlin_publish_to_ack_seconds_bucket{{le="{bound}"}}"#)];
    assert_eq!(["0.00005", "0.00025", "0.0005", "30", "+Inf"].map(bucket), [1.0, 1.0, 3.0, 3.0, 4.0]);
    assert_eq!(series["dunlin_publish_to_ack_seconds_count"], 4.0);
    assert_eq!(series["dunlin_publish_to_delivery_seconds_count"], 0.0);
}

#[test]
fn brokers_in_one_process_do_not_share_figures() {
    let ((first, busy), (second, idle)) = (broker(), broker());
    busy.wills_published.increment();
    busy.latency.publish_to_ack.record(1.0);
    assert_eq!(scrape(&first, &busy)["dunlin_wills_published_total"], 1.0);
    let series = scrape(&second, &idle);
    assert_eq!((series["dunlin_wills_published_total"], series["dunlin_publish_to_ack_seconds_count"]), (0.0, 0.0));
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_has_the_usual_names() {
    let (exporter, metrics) = broker();
    let series = scrape(&exporter, &metrics);
    for name in ["resident_memory_bytes", "virtual_memory_bytes", "open_fds", "max_fds", "start_time_seconds", "threads"] {
        assert!(series[&format!("process_{name}")] > 0.0, "{name}");
    }
    assert!(series.contains_key("process_cpu_seconds_total"));
}

/// The labels of `dunlin_limit_hits_total` are the keys that stand in the config.
#[test]
fn limits_are_counted_under_the_keys_of_the_config() {
    let keys_of = |section: serde_json::Value| section.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let sections = [
        serde_json::to_value(Limits::default()).unwrap(),
        serde_json::to_value(Rates::default()).unwrap(),
        serde_json::to_value(Quotas::default()).unwrap(),
        serde_json::to_value(Protection::default()).unwrap(),
        serde_json::to_value(OverloadConfig::default()).unwrap(),
    ];
    let keys: BTreeSet<String> = sections.into_iter().flat_map(keys_of).collect();
    let counted: BTreeSet<String> = Limit::ALL.iter().map(|limit| limit.name().to_owned()).collect();
    let elsewhere = [
        "auth_http_max_cached", // of [auth.http]
        "auth_http_max_cached_logins",
        "auth_http_max_waiting",
        "listener_byte_rate", // of a listener
        "listener_connection_rate",
        "listener_max_connections",
        "listener_message_rate",
        "max_delayed_bytes", // of [work_queues]
        "max_delayed_messages",
        "max_queues",
    ];
    assert_eq!(counted.difference(&keys).collect::<Vec<_>>(), elsewhere);
    let say_how = [
        "ban_time",
        "big_publish",
        "burst",
        "client_id_reuse",
        "login_failure_window",
        "max_ban_time",
        "max_delay",
        "memory_max",
        "queue_policy",
        "queue_qos0",
        "reconnect_window",
        "recover_by",
        "takeover_window",
    ];
    assert_eq!(keys.difference(&counted).collect::<Vec<_>>(), say_how);
}
