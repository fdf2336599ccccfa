//! A report for people.

use std::fmt::Write;

use super::latency::LatencySummary;
use super::progress::{grouped, short};
use super::report::{Cost, Fault, Messages, Phase, Report, Unit};

/// Faults and problems that are listed.
const LINES_MAX: usize = 5;

/// What a run found, in some lines.
pub fn summary(report: &Report) -> String {
    let mut text = heading(report);
    report.phases.iter().for_each(|phase| text += &phase_lines(phase));
    text += &latencies(report);
    text += &messages(&report.messages);
    report.faults.iter().take(LINES_MAX).for_each(|fault| text += &fault_line(fault));
    for problem in report.problems.iter().take(LINES_MAX) {
        let _ = writeln!(text, "problem    {problem}");
    }
    text.truncate(text.trim_end().len());
    text
}

fn heading(report: &Report) -> String {
    let setup = &report.setup;
    let layers = [(setup.tls, " over TLS"), (setup.websocket, " over WebSocket")];
    let layers: String = layers.into_iter().filter(|(is_there, _)| *is_there).map(|(_, name)| name).collect();
    let broker = if setup.pid.is_some() { "broker" } else { "broker (no --pid: its CPU and memory are not known)" };
    let sends = report.messages.sent > 0;
    let load = if sends { format!(", {} B, {}", setup.payload_bytes, setup.pace) } else { String::new() };
    format!(
        "{}: {broker} at {}, MQTT {}{layers}, {} clients, QoS {}{load}\n",
        report.scenario,
        setup.broker,
        setup.version,
        grouped(setup.clients as u64),
        setup.qos,
    )
}

fn phase_lines(phase: &Phase) -> String {
    let Phase { name, seconds, count, .. } = phase;
    let mut line = format!("{name:<11}{} {} in {seconds:.2} s", grouped(*count), phase.unit.name());
    if name != &"idle" {
        let _ = write!(line, ": {}/s", short(phase.per_second));
    }
    if phase.payload_bytes_per_second > 0.0 {
        let _ = write!(line, ", {}B/s", short(phase.payload_bytes_per_second));
    }
    if phase.acknowledged_per_second > 0.0 && phase.unit != Unit::Messages {
        let _ = write!(line, ", {} acknowledged/s", short(phase.acknowledged_per_second));
    }
    line.push('\n');
    if let Some(cost) = &phase.broker {
        line += &cost_line(phase, cost);
    }
    line
}

fn cost_line(phase: &Phase, cost: &Cost) -> String {
    let mut line = format!("{:<11}broker: {:.2} s of CPU ({:.0} %)", "", cost.cpu_seconds, cost.cpu_percent);
    if let Some(each) = cost.cpu_seconds_per_million.filter(|_| phase.name != "idle") {
        let _ = write!(line, ", {each:.3} s per million");
    }
    let (before, after) = (short(cost.resident_before as f64), short(cost.resident_after as f64));
    let _ = write!(line, "; memory {before}B to {after}B");
    if let Some(each) = cost.resident_bytes_each.filter(|each| *each >= 1.0) {
        let _ = write!(line, ", {} B each", grouped(each.round() as u64));
    }
    line + "\n"
}

fn latencies(report: &Report) -> String {
    let rows = [("delivery", &report.latency_us), ("ack", &report.ack_latency_us), ("connect", &report.connect_latency_us)];
    let rows = rows.into_iter().filter_map(|(name, times)| Some((name, times.as_ref()?)));
    let lines: String = rows.map(|(name, times)| latency_line(name, times)).collect();
    if lines.is_empty() {
        return lines;
    }
    let names = ["p50", "p90", "p99", "p99.9", "max"].map(|name| format!("{name:>12}")).concat();
    format!("{:<11}{names}\n{lines}", "latency")
}

fn latency_line(name: &str, times: &LatencySummary) -> String {
    let LatencySummary { p50, p90, p99, p99_9, max, .. } = *times;
    let values = [p50, p90, p99, p99_9, max].map(|value| format!("{:>12}", time(value))).concat();
    format!("  {name:<9}{values}\n")
}

/// From microseconds.
fn time(micros: f64) -> String {
    match micros {
        ..1000.0 => format!("{micros:.0} µs"),
        ..1_000_000.0 => format!("{:.1} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

fn messages(messages: &Messages) -> String {
    let Messages { sent, acknowledged, rejected, expected, delivered, lost, doubled, reordered, unexpected } = *messages;
    if sent + delivered == 0 {
        return String::new();
    }
    let list = [
        (sent, "sent"),
        (acknowledged, "acknowledged"),
        (rejected, "rejected"),
        (expected, "deliveries expected"),
        (delivered, "delivered"),
        (unexpected, "unexpected"),
    ];
    let list: Vec<_> =
        list.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{} {name}", grouped(*count))).collect();
    let faults = format!("{} lost, {} doubled, {} reordered", grouped(lost), grouped(doubled), grouped(reordered));
    format!("messages   {}\n           {faults}\n", list.join(", "))
}

fn fault_line(fault: &Fault) -> String {
    let Fault { subscriber, stream, lost, doubled, reordered } = fault;
    format!("fault      {subscriber} from {stream}: {lost} lost, {doubled} doubled, {reordered} reordered\n")
}
