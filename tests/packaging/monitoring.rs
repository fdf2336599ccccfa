use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use dunlin::packet::QoS;
use serde_json::Value;

use crate::support::client::{Client, V5, V311};
use crate::support::{Broker, eventually};
use crate::tools::{dunlin, installed, read, root, run, shipped};

/// With what has figures only where it is: a certificate, a queue, and a bridge, whose other broker is not there.
const CONFIG: &str = r#"
[[listeners]]
name = "tcp"
url = "tcp://127.0.0.1:0"

[[listeners]]
name = "tls"
url = "tls://127.0.0.1:0"

[listeners.tls]
certificate = "@DIR@/certs/server.pem"
key = "@DIR@/certs/server-key.pem"

[[queues]]
name = "q"

[[bridges]]
name = "b"
urls = ["tcp://127.0.0.1:1"]

[[bridges.topics]]
filter = "b/#"
"#;

/// What `/metrics` has: the labels of each name, with their values.
struct Figures(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Figures {
    /// Of a broker that has seen some traffic: figures by reason appear at their first count.
    fn of_a_busy_broker() -> Self {
        let folder = tempfile::tempdir().unwrap();
        run(dunlin().arg("certs").arg(folder.path().join("certs")), 0);
        let broker = Broker::with_config_in(folder, CONFIG);
        let mut old = Client::connect(broker.address(), V311, "old");
        let mut new = Client::connect(broker.address(), V5, "new");
        new.subscribe("t", QoS::AtLeastOnce);
        old.publish("t", "x", QoS::AtLeastOnce);
        Client::connect(broker.address(), V5, "new").send_bytes(&[0xE0, 0]);
        Client::connect(broker.address(), V5, "broken").send_bytes(&[0xF0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
        eventually("both kinds of end are counted, and there are queues", || {
            let text = broker.get("/metrics").1;
            let are_counted =
                text.contains("dunlin_disconnects_received_total{") && text.contains("dunlin_disconnects_sent_total{");
            are_counted && text.contains("dunlin_queue_messages{") // looked at once a second
        });
        Self::parse(&broker.get("/metrics").1)
    }

    fn parse(text: &str) -> Self {
        let mut figures: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (series, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels_of = figures.entry(name.into()).or_default();
            for (label, value) in matchers(labels) {
                labels_of.entry(label).or_default().insert(value);
            }
        }
        Self(figures)
    }

    /// Everything that an expression names and `/metrics` has not.
    fn missing_of(&self, expression: &str) -> Vec<String> {
        let mut missing = Vec::new();
        for (name, selector) in selectors(expression) {
            let Some(labels) = self.0.get(&name) else {
                missing.push(name);
                continue;
            };
            // Prometheus adds job and instance.
            for (label, value) in matchers(&selector).into_iter().filter(|(label, _)| label != "job" && label != "instance") {
                for wanted in value.split('|') {
                    if !labels.get(&label).is_some_and(|values| values.contains(wanted)) {
                        missing.push(format!("{name}{{{label}=\"{wanted}\"}}"));
                    }
                }
            }
        }
        missing
    }
}

/// Names of ours in an expression, each with what stands between the braces behind it.
fn selectors(expression: &str) -> Vec<(String, String)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|c: char| is_name(c)) {
        let length = rest[start..].find(|c: char| !is_name(c)).unwrap_or(rest.len() - start);
        let (name, behind) = rest[start..].split_at(length);
        let selector = behind.strip_prefix('{').and_then(|inner| inner.split_once('}')).map_or("", |(inner, _)| inner);
        if name.starts_with("dunlin_") || name.starts_with("process_") {
            found.push((name.to_owned(), selector.to_owned()));
        }
        rest = behind;
    }
    found
}

/// `label="value"` and its kin.
fn matchers(text: &str) -> Vec<(String, String)> {
    let text = text.trim_end_matches('}').replace("!=", "=").replace("!~", "=").replace("=~", "=");
    let parts = text.split("\",").filter_map(|part| {
        let (label, value) = part.split_once('=')?;
        Some((label.trim().to_owned(), value.trim().trim_matches('"').to_owned()))
    });
    parts.collect()
}

/// Every `expr` of the dashboard, and what its variables ask for.
fn dashboard_expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == "expr" || key == "definition" => found.push(text.clone()),
                    _ => dashboard_expressions(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| dashboard_expressions(item, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_and_the_rules_ask_for_figures_that_are_there() {
    let figures = Figures::of_a_busy_broker();
    let mut expressions = Vec::new();
    dashboard_expressions(&serde_json::from_str(&read(&shipped("grafana.json"))).unwrap(), &mut expressions);
    let panels = expressions.len();
    let rules = read(&shipped("alerts.yml"));
    expressions.extend(rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(String::from));
    assert!(panels > 20 && expressions.len() > panels + 10, "they are found");
    let missing: BTreeSet<String> = expressions.iter().flat_map(|expression| figures.missing_of(expression)).collect();
    assert_eq!(missing, BTreeSet::new());
}

#[test]
fn what_is_not_there_would_be_found() {
    let figures = Figures::parse("# TYPE dunlin_a counter\ndunlin_a{reason=\"x\",kind=\"k\"} 1\ndunlin_b 2\n");
    assert_eq!(
        figures.missing_of("sum(rate(dunlin_a{job=\"dunlin\", reason=~\"x|y\"}[5m])) / dunlin_c > dunlin_b"),
        ["dunlin_a{reason=\"y\"}", "dunlin_c"]
    );
    assert_eq!(figures.missing_of("dunlin_a{kind!=\"k\"} + dunlin_b{kind=\"k\"}"), ["dunlin_b{kind=\"k\"}"]);
    assert_eq!(figures.missing_of("dunlin_a{reason!~\"x|y\"}"), ["dunlin_a{reason=\"y\"}"]);
}

#[test]
fn panels_of_the_dashboard_do_not_overlap_and_have_names_of_their_own() {
    let dashboard: Value = serde_json::from_str(&read(&shipped("grafana.json"))).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        for cell in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            assert!(cell.0 < 24 && taken.insert(cell), "{}", panel["title"]);
        }
    }
}

#[test]
fn promtool_takes_config_and_rules() {
    let told = run(Command::new(installed("promtool")).args(["check", "config"]).arg(shipped("prometheus.yml")), 0);
    assert!(told.contains("rules found"), "{told}");
}

#[test]
fn every_alert_fires_for_its_trouble_and_none_without() {
    let tests = root().join("tests/packaging/alerts_test.yml");
    let rules = read(&shipped("alerts.yml"));
    let text = read(&tests);
    for name in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(text.contains(&format!("alertname=\"{name}\"")), "{name} is not tested");
    }
    run(Command::new(installed("promtool")).args(["test", "rules"]).arg(tests), 0);
}
