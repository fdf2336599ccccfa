//! Several brokers, one after the other, with the same scenarios.

mod chart;
mod contestant;
mod markdown;
mod table;

use std::sync::atomic::{AtomicBool, Ordering};

use super::report::Report;
use super::run::run;
use super::settings::{Scenario, Settings};

pub use contestant::{Contestant, Process};
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
    /// Settings by contestant; `None` for one who does not take part.
    pub settings: Vec<Option<Settings>>,
    pub name: &'static str,
    pub scenario: Scenario,
    /// What is told of it.
    pub figures: Vec<Figure>,
    /// The only phase that is told of; `None` for all.
    pub phase: Option<String>,
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

/// Runs all trials; `tell` hears of each round when it is over.
///
/// # Errors
/// If a broker that is to be started does not come up.
pub fn compare(contest: &Contest, interrupted: &AtomicBool, mut tell: impl FnMut(&Round<'_>)) -> Result<Outcome, String> {
    let mut outcome = Outcome::new(contest);
    for (trial_index, trial) in contest.trials.iter().enumerate() {
        for round in 0..contest.rounds {
            for (contestant_index, contestant) in contest.contestants.iter().enumerate() {
                let Some(settings) = &trial.settings[contestant_index] else { continue };
                if interrupted.load(Ordering::Relaxed) {
                    return Ok(outcome);
                }
                let report = one(contestant, trial, settings, interrupted)?;
                let name = &contestant.name;
                let round = Round { trial, trial_index, contestant: name, contestant_index, round, report };
                tell(&round);
                outcome.note(&round);
            }
        }
    }
    Ok(outcome)
}

/// A broker that is started is a new one for each run, so that none pays for what another run left behind.
fn one(
    contestant: &Contestant,
    trial: &Trial,
    settings: &Settings,
    interrupted: &AtomicBool,
) -> Result<Result<Report, String>, String> {
    let running = contestant.start(settings.target.address)?;
    let settings = Settings { pid: running.pid(), ..settings.clone() };
    Ok(run(trial.name, &trial.scenario, &settings, true, interrupted))
}
