//! What came out of all rounds, in rows and columns.

use serde::Serialize;

use super::super::report::{Phase, Report, Unit, Verdict};
use super::{Contest, Round};

/// Phases in which the broker comes to keep more than before; in others its memory tells nothing of what is counted.
const KEEPING: [&str; 6] = ["connect", "idle", "subscribe", "enqueue", "store", "fill"];

/// What is told of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// The broker's CPU seconds per million.
    Cpu,
    /// The broker's CPU, part of one core.
    CpuPercent,
    /// A second.
    Rate,
    /// Median latency of deliveries, or of connecting where connections are counted.
    P50,
    P99,
    /// Median latency of acknowledgements.
    AckP50,
    AckP99,
    /// Bytes of resident memory for each.
    Memory,
}

impl Figure {
    pub const ALL: [Self; 8] =
        [Self::Cpu, Self::CpuPercent, Self::Rate, Self::P50, Self::P99, Self::AckP50, Self::AckP99, Self::Memory];

    pub const fn key(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::CpuPercent => "cpu-percent",
            Self::Rate => "rate",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::AckP50 => "ack-p50",
            Self::AckP99 => "ack-p99",
            Self::Memory => "memory",
        }
    }

    pub const fn title(self) -> &'static str {
        match self {
            Self::Cpu => "CPU of the broker, µs each",
            Self::CpuPercent => "CPU of the broker, % of a core",
            Self::Rate => "A second",
            Self::P50 => "Median latency, µs",
            Self::P99 => "99th percentile of latency, µs",
            Self::AckP50 => "Median time to the acknowledgement, µs",
            Self::AckP99 => "99th percentile of the time to the acknowledgement, µs",
            Self::Memory => "Memory of the broker, bytes each",
        }
    }

    fn of(self, report: &Report, phase: &Phase) -> Option<f64> {
        let latency = if phase.unit == Unit::Connections { report.connect_latency_us } else { report.latency_us };
        match self {
            Self::Cpu => phase.broker?.cpu_seconds_per_million,
            Self::CpuPercent => Some(phase.broker?.cpu_percent),
            Self::Rate => Some(phase.per_second),
            Self::P50 => Some(latency?.p50),
            Self::P99 => Some(latency?.p99),
            Self::AckP50 => Some(report.ack_latency_us?.p50),
            Self::AckP99 => Some(report.ack_latency_us?.p99),
            Self::Memory if KEEPING.contains(&phase.name) => phase.broker?.resident_bytes_each,
            Self::Memory => None,
        }
    }
}

/// All results.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub contestants: Vec<String>,
    pub rows: Vec<Row>,
    pub series: Vec<Series>,
    /// Who cannot do what, and why.
    pub absences: Vec<String>,
    /// What was lost, doubled or refused, and by whom.
    pub faults: Vec<String>,
}

/// One figure of one phase of a trial.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub title: String,
    pub figure: Figure,
    /// By contestant.
    pub samples: Vec<Sample>,
    #[serde(skip)]
    key: (usize, &'static str),
}

/// The values of all rounds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sample {
    pub values: Vec<f64>,
    /// `None` if there is none.
    pub median: Option<f64>,
}

/// A plot: one figure by size.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    pub title: String,
    pub figure: Figure,
    /// Size, and by contestant.
    pub points: Vec<(u64, Vec<Sample>)>,
}

impl Outcome {
    pub(super) fn new(contest: &Contest) -> Self {
        let contestants = contest.contestants.iter().map(|contestant| contestant.name.clone()).collect();
        Self { contestants, rows: Vec::new(), series: Vec::new(), absences: contest.absences.clone(), faults: Vec::new() }
    }

    pub(super) fn note(&mut self, round: &Round<'_>) {
        let trial = round.trial;
        let who = format!("{}, {}", trial.title, round.contestant);
        let report = match &round.report {
            Ok(report) => report,
            Err(error) => return self.note_fault(format!("{who}: {error}")),
        };
        if report.verdict() != Verdict::Good {
            self.note_fault(format!("{who}: {}", what_was_wrong(report)));
        }
        let phases = report.phases.iter().filter(|phase| trial.phase.as_deref().is_none_or(|only| only == phase.name));
        let phases: Vec<_> = phases.collect();
        for phase in &phases {
            for figure in &trial.figures {
                let Some(value) = figure.of(report, phase) else { continue };
                let title = if phases.len() == 1 { trial.title.clone() } else { format!("{}: {}", trial.title, phase.name) };
                self.sample(round, title, phase.name, *figure).add(value);
            }
        }
    }

    /// The same in each round is told once.
    fn note_fault(&mut self, fault: String) {
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.series.is_empty()
    }

    /// Where a value belongs: into a plot if the trial is a point of one, else into a row.
    fn sample(&mut self, round: &Round<'_>, title: String, phase: &'static str, figure: Figure) -> &mut Sample {
        let empty = vec![Sample::default(); self.contestants.len()];
        let samples = match round.trial.size {
            Some(size) => {
                let is_it = |series: &Series| series.title == title && series.figure == figure;
                let series = found(&mut self.series, is_it, || Series { title: title.clone(), figure, points: Vec::new() });
                &mut found(&mut series.points, |(there, _)| *there == size, || (size, empty)).1
            }
            None => {
                let key = (round.trial_index, phase);
                let is_it = |row: &Row| row.key == key && row.figure == figure;
                &mut found(&mut self.rows, is_it, || Row { title, figure, samples: empty, key }).samples
            }
        };
        &mut samples[round.contestant_index]
    }
}

impl Sample {
    fn add(&mut self, value: f64) {
        self.values.push(value);
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let is_odd = sorted.len() % 2 == 1;
        self.median = Some(if is_odd { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) });
    }
}

/// The one that is there, or a new one at the end.
fn found<T>(list: &mut Vec<T>, is_it: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> &mut T {
    let index = list.iter().position(is_it).unwrap_or_else(|| {
        list.push(new());
        list.len() - 1
    });
    &mut list[index]
}

fn what_was_wrong(report: &Report) -> String {
    let messages = &report.messages;
    let counts = [
        (messages.lost, "lost"),
        (messages.doubled, "doubled"),
        (messages.reordered, "reordered"),
        (messages.rejected, "rejected"),
        (messages.unexpected, "unexpected"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
    counts.chain(report.problems.iter().take(2).cloned()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::super::latency::LatencySummary;
    use super::super::super::report::{Messages, Setup};
    use super::*;

    fn report(connect_latency_us: Option<LatencySummary>) -> Report {
        let setup = Setup {
            broker: String::new(),
            version: "5.0",
            tls: false,
            websocket: false,
            clients: 1,
            qos: 0,
            payload_bytes: 0,
            pace: String::new(),
            persistent: false,
            threads: 1,
            pid: None,
        };
        Report {
            scenario: "conn".into(),
            setup,
            phases: Vec::new(),
            messages: Messages::default(),
            latency_us: None,
            ack_latency_us: None,
            connect_latency_us,
            faults: Vec::new(),
            problems: Vec::new(),
        }
    }

    #[test]
    fn the_latency_of_connecting_stands_for_that_of_connections_only() {
        let latency = LatencySummary { count: 1, min: 5.0, mean: 5.0, p50: 5.0, p90: 5.0, p99: 6.0, p99_9: 6.0, max: 6.0 };
        let report = report(Some(latency));
        let figures = |unit| {
            let phase = Phase::new("phase", unit, 1.0, 1, 0);
            [Figure::P50, Figure::P99].map(|figure| figure.of(&report, &phase))
        };
        assert_eq!(figures(Unit::Connections), [Some(5.0), Some(6.0)]);
        assert_eq!(figures(Unit::Deliveries), [None, None], "nothing was delivered");
    }

    #[test]
    fn a_fault_of_each_round_is_told_once() {
        let contest = Contest { contestants: Vec::new(), trials: Vec::new(), absences: Vec::new(), rounds: 2 };
        let mut outcome = Outcome::new(&contest);
        for fault in ["a: b", "a: b", "a: c"] {
            outcome.note_fault(fault.into());
        }
        assert_eq!(outcome.faults, ["a: b", "a: c"]);
        assert!(outcome.is_empty());
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_two_there() {
        let mut sample = Sample::default();
        assert_eq!(sample.median, None);
        for (value, median) in [(3.0, 3.0), (1.0, 2.0), (9.0, 3.0), (4.0, 3.5)] {
            sample.add(value);
            assert_eq!(sample.median, Some(median));
        }
    }
}

/// For tests of what is made from results.
#[cfg(test)]
pub(super) mod tests_support {
    use super::*;

    fn sample(value: f64) -> Sample {
        Sample { values: vec![value], median: Some(value) }
    }

    pub(in super::super) fn outcome() -> Outcome {
        let row = |title: &str, figure, samples| Row { title: title.into(), figure, samples, key: (0, "publish") };
        Outcome {
            contestants: vec!["ours".into(), "theirs".into()],
            rows: vec![
                row("pairs", Figure::Cpu, vec![sample(0.4), sample(11.2)]),
                row("pairs", Figure::Rate, vec![sample(1.5e6), sample(30_000.0)]),
                row("fan-out", Figure::Cpu, vec![sample(2.0), Sample::default()]),
            ],
            series: vec![Series {
                title: "by size".into(),
                figure: Figure::Cpu,
                points: vec![(10, vec![sample(1.0), sample(4.0)]), (1000, vec![sample(1.0), sample(8.0)])],
            }],
            absences: vec!["fan-out, theirs: it knows no fans".into()],
            faults: vec!["pairs, theirs: 3 lost".into()],
        }
    }
}
