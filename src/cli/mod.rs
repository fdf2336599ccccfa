//! The command line: one file per subcommand.

mod apikey;
pub mod backup;
mod bench;
mod certs;
mod check;
mod complete;
mod config;
mod ctl;
pub mod exit;
mod health;
mod import;
mod inspect;
pub mod logging;
mod mqtt;
mod output;
mod passwd;
mod queue;
mod run;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use output::{complain, say};
use run::RunArgs;

/// An MQTT 3.1, 3.1.1 and 5.0 broker.
///
/// Without a subcommand it runs the broker, as `dunlin run` does. Without a config it listens on 127.0.0.1:1883 (TCP),
/// 127.0.0.1:8083/mqtt (WebSocket) and 127.0.0.1:18083 (dashboard, API, metrics, health), for this machine only.
#[derive(Debug, Parser)]
#[command(name = "dunlin", version, args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

const AFTER_HELP: &str = "Every key of the config that stands below no double brackets can also be set by an environment variable, \
    DUNLIN__SECTION__KEY: DUNLIN__LIMITS__MAX_PACKET_SIZE=64KiB. The file comes first, what was changed over the API over it, then the \
    environment, then flags.\n\n\
    Exit codes: 0 stopped as told, 2 wrong usage, 69 an address cannot be had, 74 storage failed, 78 the config is wrong.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker.
    Run(RunArgs),
    /// Check a config: tell everything that is wrong with it at once, and run nothing.
    Check(RunArgs),
    /// Show the config.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Set, change or delete the password of a user in a password file.
    Passwd(passwd::PasswdArgs),
    /// Add, list and revoke the keys of the admin API.
    #[command(subcommand)]
    Apikey(apikey::ApikeyCommand),
    /// Make a certificate authority, a server and a client certificate to try TLS with.
    Certs(certs::CertsArgs),
    /// Ask a running broker whether clients may be sent to it, for health checks: exit code 0 or 1.
    Health(health::HealthArgs),
    #[command(subcommand)]
    Import(import::ImportCommand),
    /// Show what is in a data directory.
    Inspect(inspect::InspectArgs),
    /// Copy the data directory of a broker, running or not.
    Backup(backup::BackupArgs),
    /// Make a data directory from a backup.
    Restore(backup::RestoreArgs),
    Queue(queue::QueueArgs),
    Bench(Box<bench::BenchArgs>),
    Ctl(ctl::CtlArgs),
    /// Publish messages to a broker, with mosquitto_pub's letters.
    Pub(Box<mqtt::PubArgs>),
    /// Subscribe to topics of a broker and print the messages, with mosquitto_sub's letters.
    Sub(Box<mqtt::SubArgs>),
    /// Print what a shell needs to complete this program's arguments.
    Completions(complete::CompletionsArgs),
    /// Print the manual page, or write those of all subcommands into a folder.
    Man(complete::ManArgs),
    /// Print the version.
    Version,
}

/// Runs the program with this process's arguments.
pub fn main() -> ExitCode {
    output::end(run_command(Cli::parse()))
}

fn run_command(cli: Cli) -> ExitCode {
    match cli.command {
        None => run::run(&cli.run),
        Some(Command::Run(args)) => run::run(&args),
        Some(Command::Check(args)) => check::check(&args),
        Some(Command::Config(command)) => config::config(&command),
        Some(Command::Passwd(args)) => result(passwd::passwd(&args)),
        Some(Command::Apikey(command)) => result(apikey::apikey(&command)),
        Some(Command::Certs(args)) => result(certs::certs(&args)),
        Some(Command::Health(args)) => health::health(&args),
        Some(Command::Import(command)) => import::import(&command),
        Some(Command::Inspect(args)) => inspect::inspect(&args),
        Some(Command::Backup(args)) => result(backup::backup(&args)),
        Some(Command::Restore(args)) => result(backup::restore(&args)),
        Some(Command::Ctl(args)) => ctl::ctl(&args),
        Some(Command::Queue(args)) => queue::queue(&args),
        Some(Command::Bench(args)) => bench::bench(*args),
        Some(Command::Pub(args)) => mqtt::publish(*args),
        Some(Command::Sub(args)) => mqtt::subscribe(*args),
        Some(Command::Completions(args)) => result(complete::completions(&args, Cli::command())),
        Some(Command::Man(args)) => result(complete::man(&args, Cli::command())),
        Some(Command::Version) => {
            say(concat!("dunlin ", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
    }
}

fn result(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::from(exit::FAILURE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Cli {
        Cli::try_parse_from([&["dunlin"], arguments].concat()).unwrap()
    }

    #[test]
    fn flags_of_queue_may_stand_before_and_behind_its_commands() {
        for arguments in [["queue", "--data-dir", "d", "list"], ["queue", "list", "--data-dir", "d"]] {
            assert!(matches!(parse(&arguments).command, Some(Command::Queue(_))));
        }
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_mean_the_same_with_and_without_run() {
        let flags = ["--listen", "tcp://127.0.0.1:1", "--data-dir", "/d", "--listen", "unix:///s", "--log-format", "json"];
        let plain = parse(&flags);
        let Some(Command::Run(run)) = parse(&[&["run"][..], &flags].concat()).command else { panic!("no run") };
        assert!(plain.command.is_none());
        assert_eq!(run.flags(), plain.run.flags());
        assert_eq!(run.flags().listen, ["tcp://127.0.0.1:1", "unix:///s"]);
        assert_eq!(run.flags().data_dir.as_deref(), Some("/d"));
    }

    #[test]
    fn run_flags_before_another_subcommand_are_refused() {
        assert!(Cli::try_parse_from(["dunlin", "--allow-anonymous", "version"]).is_err());
    }
}
