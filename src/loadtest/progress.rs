//! What is told while a run goes on: a line that is written over on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::process;
use super::tally::{Figure, Tally};

const ON_TERMINAL: Duration = Duration::from_millis(200);
const IN_PIPE: Duration = Duration::from_secs(2);

pub(super) struct Progress {
    is_terminal: bool,
    is_quiet: bool,
    start: Instant,
    last: Instant,
    before: Tally,
    pid: Option<u32>,
    cpu_before: Option<f64>,
}

/// How far something is, if that is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) done: f64,
}

impl Progress {
    pub(super) fn new(pid: Option<u32>, is_quiet: bool) -> Self {
        let now = Instant::now();
        let is_terminal = io::stderr().is_terminal();
        Self { is_terminal, is_quiet, start: now, last: now, before: Tally::default(), pid, cpu_before: cpu(pid) }
    }

    /// Tells how things stand, if it is time to.
    pub(super) fn show(&mut self, phase: &str, tally: &Tally, share: Option<Share>) {
        let every = if self.is_terminal { ON_TERMINAL } else { IN_PIPE };
        let passed = self.last.elapsed();
        if self.is_quiet || passed < every {
            return;
        }
        let line = self.line(phase, tally, share, passed.as_secs_f64());
        self.last = Instant::now();
        self.before = *tally;
        self.cpu_before = cpu(self.pid);
        let mut out = io::stderr().lock();
        // Nobody reads it any more: no reason to stop measuring.
        let _ = if self.is_terminal { write!(out, "\r\x1b[2K{line}") } else { writeln!(out, "{line}") };
        let _ = out.flush();
    }

    /// Before anything else is written to the terminal.
    pub(super) fn clear(&self) {
        if self.is_terminal && !self.is_quiet {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }

    fn line(&self, phase: &str, tally: &Tally, share: Option<Share>, seconds: f64) -> String {
        let change = tally.since(&self.before);
        let mut line = format!("{:6.1} s  {phase:9}", self.start.elapsed().as_secs_f64());
        if let Some(Share { done }) = share.filter(|_| self.is_terminal) {
            line += &bar(done);
        }
        let figures = [
            (Figure::Connected, "connected"),
            (Figure::Granted, "subscribed"),
            (Figure::Sent, "sent"),
            (Figure::Acknowledged, "acknowledged"),
            (Figure::Delivered, "delivered"),
        ];
        let is_flowing = tally[Figure::Sent] + tally[Figure::Delivered] > 0;
        for (index, (figure, name)) in figures.into_iter().enumerate() {
            let rate = change[figure] as f64 / seconds;
            // On a terminal all must fit into a line, and what was before messages began is known.
            if tally[figure] == 0 || self.is_terminal && is_flowing && (index < 2 || rate == 0.0) {
                continue;
            }
            line += &match (is_flowing && self.is_terminal, rate > 0.0) {
                (true, _) => format!("  {}/s {name}", short(rate)),
                (false, true) => format!("  {} {name} ({}/s)", short(tally[figure] as f64), short(rate)),
                (false, false) => format!("  {} {name}", short(tally[figure] as f64)),
            };
        }
        if let (Some(before), Some(now)) = (self.cpu_before, cpu(self.pid)) {
            line += &format!("  broker {:.0} %", (now - before) / seconds * 100.0);
        }
        line
    }
}

fn cpu(pid: Option<u32>) -> Option<f64> {
    process::usage(pid?).ok().map(|usage| usage.cpu_seconds)
}

fn bar(done: f64) -> String {
    let width = 20;
    let filled = (done.clamp(0.0, 1.0) * f64::from(width)) as usize;
    format!("[{:<20}]", "#".repeat(filled))
}

/// Three digits or so: `0.123`, `12`, `1,234`, `56.7 k`, `1.23 M`.
pub(super) fn short(value: f64) -> String {
    match value {
        0.0..1.0 if value.fract() > 0.0 => format!("{value:.3}"),
        1.0..10.0 if value.fract() > 0.0 => format!("{value:.2}"),
        10.0..100.0 if value.fract() > 0.0 => format!("{value:.1}"),
        ..10_000.0 => grouped(value.round() as u64),
        ..100_000.0 => format!("{:.1} k", value / 1e3),
        ..1_000_000.0 => format!("{:.0} k", value / 1e3),
        ..10_000_000.0 => format!("{:.2} M", value / 1e6),
        ..1_000_000_000.0 => format!("{:.1} M", value / 1e6),
        _ => format!("{:.2} G", value / 1e9),
    }
}

/// `1,234,567`.
pub(super) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_enough_to_read() {
        let shorts = [0.0, 0.25, 7.0, 11.23, 1234.4, 56_789.0, 567_890.0, 1_234_567.0, 45_678_901.0, 2e9].map(short);
        assert_eq!(shorts, ["0", "0.250", "7", "11.2", "1,234", "56.8 k", "568 k", "1.23 M", "45.7 M", "2.00 G"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_line_tells_what_there_is_and_how_fast_it_grows() {
        let mut progress = Progress::new(None, false);
        progress.is_terminal = true;
        let mut tally = Tally::default();
        tally[Figure::Connected] = 10;
        progress.before = tally;
        tally[Figure::Sent] = 3000;
        let line = progress.line("publish", &tally, Some(Share { done: 0.5 }), 2.0);
        assert!(line.ends_with("publish  [##########          ]  1,500/s sent"), "{line}");
        progress.is_terminal = false;
        let line = progress.line("publish", &tally, Some(Share { done: 0.5 }), 2.0);
        assert!(line.ends_with("publish    10 connected  3,000 sent (1,500/s)"), "{line}");
    }
}
