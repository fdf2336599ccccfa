//! `dunlin completions` and `dunlin man`, made from the definition of the command line itself.

use std::io;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use super::output::say_bytes;

/// Where a package puts it: /usr/share/bash-completion/completions/dunlin, /usr/share/zsh/vendor-completions/_dunlin,
/// /usr/share/fish/vendor_completions.d/dunlin.fish.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// For which shell.
    shell: Shell,
}

/// Without a folder the page of `dunlin` itself goes to standard output: `dunlin man | man -l -`.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write the pages of all subcommands here: dunlin.1, dunlin-pub.1 …
    dir: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<(), String> {
    let mut script = Vec::new();
    generate(args.shell, &mut command, "dunlin", &mut script);
    say_bytes(&script);
    Ok(())
}

pub(super) fn man(args: &ManArgs, command: Command) -> Result<(), String> {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page).map_err(|error| error.to_string())?;
        say_bytes(&page);
        return Ok(());
    };
    let wrong = |error: io::Error| format!("{}: {error}", dir.display());
    std::fs::create_dir_all(dir).map_err(wrong)?;
    clap_mangen::generate_to(command, dir).map_err(wrong)
}
