//! `dunlin bench compare` and `dunlin bench plot`.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::{env, fs};

use clap::{Args, Parser};
use serde::Deserialize;

use super::scenario::{Plan, ScenarioCommand};
use super::{complain, exit, interrupted, say, write_file};
use crate::loadtest;
use crate::loadtest::compare::{self, Contest, Contestant, Figure, Outcome, Process, Round, Task, Trial};

/// Run a list of scenarios on several brokers in turn (A B A B …) and print a table with ratios.
///
/// The file says which brokers and which scenarios; benches/compare.toml is one, and explains all keys. A broker is one that runs
/// (host, port, pid), or a command that is started anew for each run and ended after it.
#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// Brokers and scenarios (TOML).
    file: PathBuf,
    /// Only scenarios and plots with this in their name; can be given several times.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Only these brokers, in this order; the first one is what others are compared with.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    brokers: Vec<String>,
    /// Times that each scenario is run on each broker, instead of what the file says; the table has medians.
    #[arg(long)]
    rounds: Option<usize>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Run a scenario at several sizes and draw what it costs: x the size, y the cost.
///
///   dunlin bench plot --sizes 10,100,1000 --pid 4711 --svg cost.svg -- p2p -c {size} -q 1
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct PlotArgs {
    /// What {size} stands for, one after the other.
    #[arg(long, value_delimiter = ',', required = true)]
    sizes: Vec<u64>,
    /// What is drawn: cpu, cpu-percent, rate, p50, p99, ack-p50, ack-p99 or memory.
    #[arg(long, default_value = "cpu", value_parser = figure)]
    figure: Figure,
    /// Only this phase of the scenario: publish, enqueue, drain, store, replay, subscribe, connect, idle.
    #[arg(long)]
    phase: Option<String>,
    /// Heading of the plot [default: the scenario as given]
    #[arg(long)]
    title: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    /// The scenario with its flags.
    #[arg(last = true, required = true)]
    scenario: Vec<String>,
}

#[derive(Debug, Args)]
struct OutputArgs {
    /// Write charts to this file; further ones get a number behind its name.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the tables to this file as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write all values to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "one")]
    rounds: usize,
    /// Flags before those of each scenario.
    #[serde(default)]
    common: String,
    brokers: Vec<Broker>,
    #[serde(default)]
    scenarios: Vec<Entry>,
    #[serde(default)]
    plots: Vec<Entry>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Broker {
    name: String,
    #[serde(default = "localhost")]
    host: String,
    port: u16,
    pid: Option<u32>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// Commands that are run before, once the files are there.
    #[serde(default)]
    prepare: Vec<Vec<String>>,
    /// Flags behind those of each scenario, for this broker.
    #[serde(default)]
    flags: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    run: String,
    #[serde(default)]
    sizes: Vec<u64>,
    figures: Option<Vec<String>>,
    phase: Option<String>,
    /// Only these; all others if it is not given.
    brokers: Option<Vec<String>>,
    #[serde(default)]
    except: Vec<String>,
    /// Those who would take part and cannot, and why; told below the tables.
    #[serde(default)]
    cannot: BTreeMap<String, String>,
    /// By broker, flags behind those of the scenario.
    #[serde(default)]
    flags: BTreeMap<String, String>,
}

/// A scenario as in the file, read by the command line's own parser.
#[derive(Debug, Parser)]
#[command(name = "run", disable_help_flag = true, no_binary_name = true)]
struct Line {
    #[command(subcommand)]
    scenario: ScenarioCommand,
}

pub(super) fn compare(args: &CompareArgs) -> Result<ExitCode, String> {
    let text = fs::read_to_string(&args.file).map_err(|error| format!("{}: {error}", args.file.display()))?;
    let mut file: File = toml::from_str(&text).map_err(|error| format!("{}: {error}", args.file.display()))?;
    file.rounds = args.rounds.unwrap_or(file.rounds).max(1);
    file.choose(args)?;
    finish(&file.contest()?, &args.output)
}

pub(super) fn plot(args: &PlotArgs) -> Result<ExitCode, String> {
    let mut trials = Vec::new();
    for size in &args.sizes {
        let words: Vec<_> = args.scenario.iter().map(|word| word.replace("{size}", &size.to_string())).collect();
        let plan = parse(&words)?;
        let title = args.title.clone().unwrap_or_else(|| args.scenario.join(" "));
        trials.extend(trial(title, Some(*size), vec![Some(plan)], vec![args.figure], args.phase.clone()));
    }
    let settings = trials.first().and_then(|trial| Some(&trial.tasks.first()?.as_ref()?.settings));
    let name = settings.map_or_else(String::new, |settings| settings.target.address.to_string());
    let process = Process::Running(settings.and_then(|settings| settings.pid));
    finish(&Contest { contestants: vec![Contestant { name, process }], trials, absences: Vec::new(), rounds: 1 }, &args.output)
}

fn finish(contest: &Contest, output: &OutputArgs) -> Result<ExitCode, String> {
    let total = contest.trials.len();
    let interrupted = interrupted();
    let outcome = compare::compare(contest, &interrupted, |round| complain(progress(round, total)));
    let text = compare::markdown(&outcome);
    say(text.trim_end());
    if let Some(path) = &output.markdown {
        write_file(path, &text)?;
    }
    if let Some(path) = &output.json {
        let json = serde_json::to_string_pretty(&outcome).map_err(|error| error.to_string())?;
        write_file(path, &(json + "\n"))?;
    }
    if let Some(path) = &output.svg {
        for (index, svg) in charts(&outcome).iter().enumerate() {
            write_file(&numbered(path, index), svg)?;
        }
    }
    Ok(ExitCode::from(if interrupted.load(Ordering::Relaxed) { exit::INTERRUPTED } else { code(&outcome) }))
}

fn code(outcome: &Outcome) -> u8 {
    match (outcome.faults.is_empty(), outcome.is_empty()) {
        (true, _) => exit::OK,
        (false, true) => exit::FAILURE,
        (false, false) => exit::BENCH_FAULTS,
    }
}

fn charts(outcome: &Outcome) -> Vec<String> {
    let bars = Figure::ALL.into_iter().filter_map(|figure| compare::bars(outcome, figure));
    bars.chain(outcome.series.iter().filter_map(|series| compare::lines(outcome, series))).collect()
}

/// `cost.svg`, `cost-2.svg`, `cost-3.svg`.
fn numbered(path: &Path, index: usize) -> PathBuf {
    if index == 0 {
        return path.into();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-{}.svg", index + 1))
}

fn progress(round: &Round<'_>, trials: usize) -> String {
    let size = round.trial.size.map(|size| format!(" at {size}")).unwrap_or_default();
    let head = format!("{}/{trials} {}{size}, {}", round.trial_index + 1, round.trial.title, round.contestant);
    match &round.report {
        Ok(report) => {
            let phase = |phase: &loadtest::Phase| {
                let cost = phase.broker.and_then(|cost| cost.cpu_seconds_per_million);
                let cost = cost.map(|cost| format!(", {cost:.3} µs each")).unwrap_or_default();
                format!("{} {:.0}/s{cost}", phase.name, phase.per_second)
            };
            let phases: Vec<_> = report.phases.iter().map(phase).collect();
            format!("{head}: {}", phases.join("; "))
        }
        Err(error) => format!("{head}: {error}"),
    }
}

impl File {
    /// Leaves what was asked for.
    fn choose(&mut self, args: &CompareArgs) -> Result<(), String> {
        self.check_names()?;
        let is_wanted = |entry: &Entry| args.only.is_empty() || args.only.iter().any(|text| entry.name.contains(text));
        self.scenarios.retain(is_wanted);
        self.plots.retain(is_wanted);
        if !args.brokers.is_empty() {
            let named = |name: &String| self.brokers.iter().find(|broker| broker.name == *name).cloned();
            let chosen = args.brokers.iter().map(|name| named(name).ok_or_else(|| format!("no broker {name:?} in the file")));
            self.brokers = chosen.collect::<Result<_, _>>()?;
        }
        if self.scenarios.is_empty() && self.plots.is_empty() || self.brokers.is_empty() {
            return Err("nothing to compare: neither brokers nor scenarios are left".into());
        }
        let names: HashSet<_> = self.brokers.iter().map(|broker| &broker.name).collect();
        if names.len() < self.brokers.len() {
            return Err("two brokers have the same name".into());
        }
        Ok(())
    }

    /// An entry whose brokers were not asked for is left out, so a name that nobody has would not be noticed.
    fn check_names(&self) -> Result<(), String> {
        for entry in self.scenarios.iter().chain(&self.plots) {
            let is_there = |name: &String| self.brokers.iter().any(|broker| broker.name == *name);
            if let Some(name) = entry.brokers.iter().flatten().find(|name| !is_there(name)) {
                return Err(format!("{}: no broker {name:?} in the file", entry.name));
            }
        }
        Ok(())
    }

    fn contest(&self) -> Result<Contest, String> {
        let contestants = self.brokers.iter().map(Broker::contestant).collect::<Result<_, _>>()?;
        let mut trials = Vec::new();
        for entry in &self.scenarios {
            trials.extend(self.trial(entry, None)?);
        }
        for entry in &self.plots {
            for size in &entry.sizes {
                trials.extend(self.trial(entry, Some(*size))?);
            }
        }
        if trials.is_empty() {
            return Err("nothing to compare: none of the brokers takes part".into());
        }
        Ok(Contest { contestants, trials, absences: self.absences(), rounds: self.rounds })
    }

    fn absences(&self) -> Vec<String> {
        let entries = self.scenarios.iter().chain(&self.plots);
        let of_entry = |entry: &Entry| {
            let here = entry.cannot.iter().filter(|(name, _)| self.brokers.iter().any(|broker| broker.name == **name));
            here.map(|(name, why)| format!("{}, {name}: {why}", entry.name)).collect::<Vec<_>>()
        };
        entries.flat_map(of_entry).collect()
    }

    /// `None` if nobody takes part.
    fn trial(&self, entry: &Entry, size: Option<u64>) -> Result<Option<Trial>, String> {
        let in_entry = |error: String| format!("{}: {error}", entry.name);
        let plans = self.brokers.iter().map(|broker| entry.takes(broker).then(|| self.plan(entry, broker, size)).transpose());
        let plans: Vec<_> = plans.collect::<Result<_, _>>().map_err(in_entry)?;
        let figures = match &entry.figures {
            Some(names) => names.iter().map(|name| figure(name)).collect::<Result<_, _>>().map_err(in_entry)?,
            None if size.is_some() => vec![Figure::Cpu],
            None => vec![Figure::Cpu, Figure::Rate],
        };
        Ok(trial(entry.name.clone(), size, plans, figures, entry.phase.clone()))
    }

    fn plan(&self, entry: &Entry, broker: &Broker, size: Option<u64>) -> Result<Plan, String> {
        let size = size.map(|size| size.to_string()).unwrap_or_default();
        let run = entry.run.replace("{size}", &size);
        let (scenario, flags) = run.split_once(' ').unwrap_or((&run, ""));
        let place = format!("-h {} -p {}", broker.host, broker.port);
        let own = entry.flags.get(&broker.name).map_or("", String::as_str);
        let line = [scenario, &self.common, flags, &broker.flags, own, &place].join(" ");
        parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }
}

impl Entry {
    fn takes(&self, broker: &Broker) -> bool {
        let is_named = self.brokers.as_ref().is_none_or(|names| names.contains(&broker.name));
        is_named && !self.except.contains(&broker.name) && !self.cannot.contains_key(&broker.name)
    }
}

impl Broker {
    /// `{self}` is this program, `{port}` the port, `{dir}` a folder of the broker's own.
    fn contestant(&self) -> Result<Contestant, String> {
        let process = if self.command.is_empty() {
            Process::Running(self.pid)
        } else {
            let program = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
            let folder = env::temp_dir().join(format!("dunlin-bench-{}-{}", std::process::id(), self.name));
            let filled = |text: &String| {
                let text = text.replace("{self}", &program.display().to_string()).replace("{port}", &self.port.to_string());
                text.replace("{dir}", &folder.display().to_string())
            };
            Process::Started {
                command: self.command.iter().map(filled).collect(),
                files: self.files.iter().map(|(name, text)| (name.clone(), filled(text))).collect(),
                prepare: self.prepare.iter().map(|command| command.iter().map(filled).collect()).collect(),
                folder,
            }
        };
        Ok(Contestant { name: self.name.clone(), process })
    }
}

/// Puts together what each broker's plan says; `None` if nobody has one. All of them name the same scenario.
fn trial(
    title: String,
    size: Option<u64>,
    plans: Vec<Option<Plan>>,
    figures: Vec<Figure>,
    phase: Option<String>,
) -> Option<Trial> {
    let name = plans.iter().flatten().next()?.name;
    let task = |plan: Plan| Task { scenario: plan.scenario, settings: plan.settings };
    let tasks = plans.into_iter().map(|plan| plan.map(task)).collect();
    Some(Trial { title, size, tasks, name, figures, phase })
}

fn parse(words: &[String]) -> Result<Plan, String> {
    let line = Line::try_parse_from(words).map_err(|error| format!("{:?}: {error}", words.join(" ")))?;
    line.scenario.plan()
}

fn figure(name: &str) -> Result<Figure, String> {
    let names = Figure::ALL.map(Figure::key);
    let index = names.iter().position(|there| *there == name);
    index.map(|index| Figure::ALL[index]).ok_or_else(|| format!("{name:?} is no figure; there are {}", names.join(", ")))
}

const fn one() -> usize {
    1
}

fn localhost() -> String {
    "127.0.0.1".into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loadtest::{Pace, Scenario, Version};

    #[test]
    fn the_shipped_comparisons_are_right_in_all_their_scenarios() {
        for (text, contestants) in [
            (include_str!("../../../benches/compare.toml"), 4),
            (include_str!("../../../benches/wires.toml"), 3),
            (include_str!("../../../benches/plots.toml"), 3),
            (include_str!("../../../benches/queues.toml"), 2),
        ] {
            let file: File = toml::from_str(text).unwrap();
            file.check_names().unwrap();
            let contest = file.contest().unwrap();
            assert_eq!(contest.contestants.len(), contestants);
            let points: usize = file.plots.iter().map(|plot| plot.sizes.len()).sum();
            assert_eq!(contest.trials.len(), file.scenarios.len() + points);
            for contestant in &contest.contestants {
                let Process::Started { command, files, prepare, .. } = &contestant.process else { panic!("{contestant:?}") };
                let mut texts = command.iter().chain(files.iter().map(|(_, text)| text)).chain(prepare.iter().flatten());
                assert!(texts.all(|text| !text.contains("{port}") && !text.contains("{dir}")), "{contestant:?}");
            }
        }
    }

    #[test]
    fn who_cannot_takes_no_part_and_the_reason_is_told() {
        let text = "[[brokers]]\nname = \"a\"\nport = 7\n[[brokers]]\nname = \"b\"\nport = 8\n\
            [[scenarios]]\nname = \"x\"\nrun = \"p2p\"\nflags = { a = \"-V 4\" }\ncannot = { b = \"no wings\", c = \"\" }\n";
        let file: File = toml::from_str(text).unwrap();
        let contest = file.contest().unwrap();
        let tasks = &contest.trials[0].tasks;
        assert_eq!(tasks[0].as_ref().map(|task| task.settings.target.version), Some(Version::V4));
        assert!(tasks[1].is_none());
        assert_eq!(contest.absences, ["x, b: no wings"]);
    }

    #[test]
    fn flags_of_one_broker_change_its_scenario_and_no_others() {
        let text = "[[brokers]]\nname = \"a\"\nport = 7\n[[brokers]]\nname = \"b\"\nport = 8\n\
            [[scenarios]]\nname = \"x\"\nrun = \"p2p -c 3\"\nflags = { b = \"-c 5\" }\n";
        let file: File = toml::from_str(text).unwrap();
        let contest = file.contest().unwrap();
        let pairs = contest.trials[0].tasks.iter().flatten().map(|task| match task.scenario {
            Scenario::Pairs { pairs } => pairs,
            _ => panic!("{task:?}"),
        });
        assert_eq!(pairs.collect::<Vec<_>>(), [3, 5]);
    }

    #[test]
    fn a_scenario_without_any_of_the_chosen_brokers_is_left_out() {
        let text = "[[brokers]]\nname = \"a\"\nport = 7\n[[brokers]]\nname = \"b\"\nport = 8\n\
            [[scenarios]]\nname = \"x\"\nrun = \"p2p\"\n[[scenarios]]\nname = \"y\"\nrun = \"p2p\"\nbrokers = [\"b\"]\n";
        let mut file: File = toml::from_str(text).unwrap();
        file.brokers.truncate(1);
        let titles: Vec<_> = file.contest().unwrap().trials.into_iter().map(|trial| trial.title).collect();
        assert_eq!(titles, ["x"]);
        assert_eq!(file.check_names().unwrap_err(), "y: no broker \"b\" in the file");
        file.scenarios.remove(0);
        assert!(file.contest().unwrap_err().contains("none of the brokers takes part"));
    }

    #[test]
    fn flags_of_a_scenario_win_over_those_of_all_and_those_of_a_broker_over_both() {
        let text = "common = \"-V 4 -F 5 -s 100\"\n[[brokers]]\nname = \"a\"\nport = 7\nflags = \"-s 300\"\n\
            [[scenarios]]\nname = \"x\"\nrun = \"p2p -V 5 -s 200\"\n";
        let file: File = toml::from_str(text).unwrap();
        let contest = file.contest().unwrap();
        let settings = &contest.trials[0].tasks[0].as_ref().unwrap().settings;
        assert_eq!((settings.target.version, settings.target.address.port()), (Version::V5, 7));
        assert_eq!((settings.load.pace, settings.load.size), (Pace::Window(5), 300));
    }

    #[test]
    fn further_charts_are_numbered() {
        assert_eq!(numbered(Path::new("a/b.svg"), 0), Path::new("a/b.svg"));
        assert_eq!(numbered(Path::new("a/b.svg"), 2), Path::new("a/b-3.svg"));
    }
}
