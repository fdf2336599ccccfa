//! The end of a run: what it came to.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::super::desk::AllTimes;
use super::super::ledger::Faults;
use super::super::report::{Fault, Messages, Phase};
use super::super::tally::Figure;
use super::super::worker::Outcome;
use super::Lead;

/// Faults that are told one by one.
const FAULTS_MAX: usize = 20;

/// What a run came to.
pub(in super::super) struct Findings {
    pub(in super::super) times: AllTimes,
    pub(in super::super) messages: Messages,
    pub(in super::super) faults: Vec<Fault>,
    pub(in super::super) problems: Vec<String>,
    pub(in super::super) phases: Vec<Phase>,
}

impl Lead<'_> {
    /// Ends the run and looks into all books.
    pub(in super::super) fn finish(mut self) -> Result<Findings, String> {
        self.progress.clear();
        let tally = self.crew.tally();
        let shared = Arc::clone(&self.crew.shared);
        let outcomes = self.crew.finish()?;
        let mut times = AllTimes::new();
        outcomes.iter().for_each(|outcome| times.add(&outcome.times));
        let (total, faults) = faults(&outcomes);
        let unanswered = tally[Figure::Sent].saturating_sub(tally[Figure::Acknowledged] + tally[Figure::Rejected]);
        if self.settings.load.qos as u8 > 0 && unanswered > 0 {
            self.problems.push(format!("{unanswered} messages were not acknowledged"));
        }
        if tally[Figure::HeldUp] > 0 {
            self.problems.push(format!("{} messages were due and could not be sent", tally[Figure::HeldUp]));
        }
        if tally[Figure::Broken] > 0 {
            self.problems.push(format!("{} connections broke", tally[Figure::Broken]));
        }
        self.problems.extend(shared.reasons.lock().iter().cloned());
        let messages = Messages {
            sent: tally[Figure::Sent],
            acknowledged: tally[Figure::Acknowledged],
            rejected: tally[Figure::Rejected],
            expected: tally[Figure::Expected] + self.also_expected,
            delivered: tally[Figure::Delivered],
            lost: total.lost,
            doubled: total.doubled,
            reordered: total.reordered,
            unexpected: tally[Figure::Unexpected],
        };
        Ok(Findings { times, messages, faults, problems: self.problems, phases: self.phases })
    }
}

/// All faults together, and the worst ones one by one.
fn faults(outcomes: &[Outcome]) -> (Faults, Vec<Fault>) {
    let streams = outcomes.iter().flat_map(|outcome| &outcome.streams);
    let sent: HashMap<u32, (&str, u64)> = streams.map(|(id, topic, sent)| (*id, (topic.as_str(), *sent))).collect();
    let mut total = Faults::default();
    let mut list = Vec::new();
    for (owner, book) in outcomes.iter().flat_map(|outcome| &outcome.books) {
        for (stream, faults) in book.faults(|stream| sent.get(&stream).map_or(0, |(_, sent)| *sent)) {
            total.add(faults);
            let topic = sent.get(&stream).map_or_else(|| stream.to_string(), |(topic, _)| (*topic).to_owned());
            let Faults { lost, doubled, reordered } = faults;
            list.push(Fault { subscriber: owner.clone(), stream: topic, lost, doubled, reordered });
        }
    }
    list.sort_by_key(|fault| Reverse(fault.lost + fault.doubled + fault.reordered));
    list.truncate(FAULTS_MAX);
    (total, list)
}
