//! Several brokers, one after the other, with the same scenarios.

mod chart;
mod contestant;
mod markdown;
mod table;

use std::sync::atomic::{AtomicBool, Ordering};

use super::descriptors;
use super::report::Report;
use super::run::run;
use super::settings::{Scenario, Settings};

pub use contestant::{Contestant, Process, abandon};
pub use markdown::markdown;
pub use table::{Figure, Outcome, Row, Sample, Series};

pub use chart::{bars, lines};

/// What is to be compared.
#[derive(Clone, Debug)]
pub struct Contest {
    pub contestants: Vec<Contestant>,
    pub trials: Vec<Trial>,
    /// Who cannot do what, and why; told with the results.
    pub absences: Vec<String>,
    /// Each trial is repeated so often, the contestants in turn each time: A B A B.
    pub rounds: usize,
}

/// One scenario, for all who take part in it.
#[derive(Clone, Debug)]
pub struct Trial {
    pub title: String,
    /// Where on the x axis it stands, if it is a point of a plot.
    pub size: Option<u64>,
    /// By contestant; `None` for one who does not take part.
    pub tasks: Vec<Option<Task>>,
    pub name: &'static str,
    /// What is told of it.
    pub figures: Vec<Figure>,
    /// The only phase that is told of; `None` for all.
    pub phase: Option<String>,
}

/// What one contestant is to do in a trial.
#[derive(Clone, Debug)]
pub struct Task {
    pub scenario: Scenario,
    pub settings: Settings,
}

/// What one contestant did in one round of a trial.
pub struct Round<'a> {
    pub trial: &'a Trial,
    /// From 0.
    pub trial_index: usize,
    pub contestant: &'a str,
    pub contestant_index: usize,
    pub round: usize,
    pub report: Result<Report, String>,
}

/// Runs all trials; `tell` hears of each round when it is over. What is `interrupted` is not told: it is half a round.
pub fn compare(contest: &Contest, interrupted: &AtomicBool, mut tell: impl FnMut(&Round<'_>)) -> Outcome {
    let mut outcome = Outcome::new(contest);
    // Before any broker is started, since each inherits the limit: else those of later rounds had a higher one. Whether it is enough,
    // each run sees for itself.
    let tasks = contest.trials.iter().flat_map(|trial| trial.tasks.iter().flatten());
    let _ = descriptors::make_room_for(tasks.map(|task| task.scenario.clients()).max().unwrap_or(0));
    for (trial_index, trial) in contest.trials.iter().enumerate() {
        for round in 0..contest.rounds {
            for (contestant_index, contestant) in contest.contestants.iter().enumerate() {
                let Some(task) = &trial.tasks[contestant_index] else { continue };
                let report = one(contestant, trial.name, task, interrupted);
                if interrupted.load(Ordering::Relaxed) {
                    return outcome;
                }
                let name = &contestant.name;
                let round = Round { trial, trial_index, contestant: name, contestant_index, round, report };
                tell(&round);
                outcome.note(&round);
            }
        }
    }
    outcome
}

/// A broker that is started is a new one for each run, so that none pays for what another run left behind.
fn one(contestant: &Contestant, name: &str, task: &Task, interrupted: &AtomicBool) -> Result<Report, String> {
    let running = contestant.start(task.settings.target.address, interrupted)?;
    let settings = Settings { pid: running.pid(), ..task.settings.clone() };
    run(name, &task.scenario, &settings, true, interrupted)
}
