use super::*;

fn read(text: &str) -> Result<Config, String> {
    toml::from_str(text).map_err(|error| error.to_string())
}

#[test]
fn all_keys_are_read_and_written() {
    let text = r#"
        name = "orders"
        bind = ["orders/#"]
        ack = "explicit"
        ack_timeout = "45s"
        max_deliveries = 7
        backoff = { initial = "2s", factor = 3.0, max = "10m", jitter = 0.0 }
        key = "topic-level:2"
        on_dead = "block"
        dead_letter = false
        prefetch = 4
        strategy = "round-robin"
        max_messages = 5
        max_bytes = "1MiB"
        overflow = "drop-oldest"
        expired = "drop"
        dedup_window = "1m"
        dedup_max_ids = 9
        retention = "1d"
        max_busy = 3
        max_delay = "1h"
    "#;
    let config = read(text).unwrap();
    assert_eq!(config.check(), []);
    assert_eq!((config.ack, config.key.clone(), config.max_bytes.0), (AckMode::Explicit, KeyMode::TopicLevel(2), 1 << 20));
    assert_eq!(read(&toml::to_string(&config).unwrap()), Ok(config));
    let defaults = Config::named(QueueName::new("orders").unwrap());
    assert_eq!(read("name = \"orders\""), Ok(defaults.clone()));
    assert_eq!(read(&toml::to_string(&defaults).unwrap()), Ok(defaults));
}

#[test]
fn a_backoff_is_a_table_or_a_list() {
    let list = read("backoff = [\"1s\", \"10s\"]").unwrap().backoff;
    assert_eq!(list, Backoff::List(vec![Span::seconds(1), Span::seconds(10)]));
    let table = read("backoff = { initial = \"3s\" }").unwrap().backoff;
    assert_eq!(table, Backoff::Growing(GrowingBackoff { initial: Span::seconds(3), ..GrowingBackoff::default() }));
    for (wrong, part) in
        [("backoff = 3", "table like"), ("backoff = { initail = \"3s\" }", "initail"), ("backoff = [\"x\"]", "duration")]
    {
        let error = read(wrong).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn what_cannot_be_is_found_with_its_key() {
    for (text, key) in [
        ("", "name"),
        ("name = \"a\"\nbind = [\"a/#/b\"]", "bind"),
        ("name = \"a\"\nbind = [\"$SYS/#\"]", "bind"),
        ("name = \"a\"\nack_timeout = \"0s\"", "ack_timeout"),
        ("name = \"a\"\nmax_deliveries = 70000", "max_deliveries"),
        ("name = \"a\"\nbackoff = []", "backoff"),
        ("name = \"a\"\nbackoff = { factor = 0.5 }", "backoff"),
        ("name = \"a\"\nbackoff = { jitter = 1.5 }", "backoff"),
        ("name = \"a\"\nbackoff = { initial = \"1h\" }", "backoff"),
        ("name = \"a\"\nprefetch = 0", "prefetch"),
        ("name = \"a\"\nmax_messages = 0", "max_messages"),
        ("name = \"a\"\nmax_bytes = 0", "max_bytes"),
        ("name = \"a\"\ndead_letter = false\noverflow = \"dead-letter\"", "overflow"),
        ("name = \"a\"\ndead_letter = false\nexpired = \"dead-letter\"", "expired"),
        ("name = \"a\"\nretention = \"99999d\"", "retention"),
    ] {
        let findings = read(text).unwrap().check();
        assert_eq!(findings.iter().map(|finding| finding.key).collect::<Vec<_>>(), [key], "{text}");
    }
}

#[test]
fn unknown_keys_and_wrong_names_are_refused() {
    for wrong in ["prefetsh = 1", "name = \"a/b\"", "name = \"\"", "name = \"$x\"", "key = \"topics\"", "ack = \"auto\""] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
