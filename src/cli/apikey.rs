//! `dunlin apikey`.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::{complain, output, say};
use crate::auth::{ApiKeys, Role, new_secret, update_api_key_file};

#[derive(Debug, Subcommand)]
pub(super) enum ApikeyCommand {
    /// Make a key. Its secret is printed, once: the file keeps only a hash.
    ///
    /// The file is made if it is not there. A running broker reads it again on SIGHUP, or by `dunlin ctl reload`.
    Add(AddArgs),
    /// Show names and roles.
    List(FileArgs),
    /// Take a key out. A running broker refuses it from its next reload on.
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// File of keys, as in [admin.api] key_file.
    #[arg(long, value_name = "FILE", default_value = "api-keys")]
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// Letters, digits, - and _.
    name: String,
    /// viewer looks, operator acts on clients and messages, admin on the broker itself.
    #[arg(long, value_enum, default_value_t = RoleFlag::Viewer)]
    role: RoleFlag,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, Args)]
pub(super) struct RevokeArgs {
    name: String,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleFlag {
    Viewer,
    Operator,
    Admin,
}

impl From<RoleFlag> for Role {
    fn from(flag: RoleFlag) -> Self {
        match flag {
            RoleFlag::Viewer => Self::Viewer,
            RoleFlag::Operator => Self::Operator,
            RoleFlag::Admin => Self::Admin,
        }
    }
}

pub(super) fn apikey(command: &ApikeyCommand) -> Result<(), String> {
    match command {
        ApikeyCommand::Add(AddArgs { name, role, file }) => {
            let secret = new_secret();
            update_api_key_file(&file.file, name, Some(((*role).into(), &secret)))
                .map_err(|error| wrong(&file.file, &error))?;
            say(format_args!("{name}.{secret}"));
            if output::is_gone() {
                // Nobody has its secret, and nobody can get it any more.
                update_api_key_file(&file.file, name, None).map_err(|error| wrong(&file.file, &error))?;
                return Err(format!("key {name:?} is not added: its secret could not be printed"));
            }
            complain(format_args!("key {name:?} ({}) added to {}", Role::from(*role), file.file.display()));
            complain("Authorization: Bearer with the line above, or Basic with the name and what is behind the dot.");
        }
        ApikeyCommand::List(file) => {
            let keys = ApiKeys::load(&file.file).map_err(|error| error.to_string())?;
            for (name, role) in keys.list() {
                say(format_args!("{name}\t{role}"));
            }
        }
        ApikeyCommand::Revoke(RevokeArgs { name, file }) => {
            update_api_key_file(&file.file, name, None).map_err(|error| wrong(&file.file, &error))?;
            complain(format_args!("key {name:?} taken out of {}", file.file.display()));
        }
    }
    Ok(())
}

fn wrong(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}
