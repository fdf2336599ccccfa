//! `dunlin passwd`.

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;

use clap::Args;

use super::complain;
use crate::auth::{self, Change, Kind};

/// The longest line that is read: a password as long as CONNECT can carry, its line end, and one byte to tell what is too long.
const MAX_LINE: u64 = 65_535 + 3;

/// On a terminal the password is asked for twice and not shown; otherwise it is the first line of standard input. The file is
/// made if it is not there. A running broker reads it again on SIGHUP.
#[derive(Debug, Args)]
pub(super) struct PasswdArgs {
    /// Password file, as in [auth] password_file.
    file: PathBuf,
    /// User name.
    user: String,
    /// Read the password from standard input even on a terminal.
    #[arg(long)]
    stdin: bool,
    /// Store it for SCRAM-SHA-256, the enhanced authentication of MQTT 5.0, rather than as argon2id.
    #[arg(long, conflicts_with = "delete")]
    scram: bool,
    /// Delete the user.
    #[arg(long)]
    delete: bool,
}

pub(super) fn passwd(args: &PasswdArgs) -> Result<(), String> {
    // Before anybody types a password for nothing.
    auth::check_user_name(&args.user).map_err(|error| format!("user {:?}: {error}", args.user))?;
    let hash = if args.delete { None } else { Some(hash(args)?) };
    let file = args.file.display();
    let done = match auth::update_password_file(&args.file, &args.user, hash.as_deref()) {
        Ok(Change::Added) => "added to",
        Ok(Change::Replaced) => "changed in",
        Ok(Change::Deleted) => "deleted from",
        Err(error) => return Err(format!("{file}: {error}")),
    };
    complain(format_args!("user {:?} {done} {file}", args.user));
    Ok(())
}

fn hash(args: &PasswdArgs) -> Result<String, String> {
    let is_asked = !args.stdin && io::stdin().is_terminal();
    let password = if is_asked { ask(&args.user)? } else { first_line(io::stdin().lock())? };
    let kind = if args.scram { Kind::ScramSha256 } else { Kind::Argon2id };
    auth::hash_password(&password, kind).map_err(|error| error.to_string())
}

fn ask(user: &str) -> Result<Vec<u8>, String> {
    let prompt = |text: String| rpassword::prompt_password(text).map_err(|error| format!("cannot read a password: {error}"));
    let first = prompt(format!("Password for {user}: "))?;
    if prompt("Again: ".into())? != first {
        return Err("the two passwords are not the same".into());
    }
    Ok(first.into_bytes())
}

/// The line without its end; it may be any bytes.
fn first_line(input: impl BufRead) -> Result<Vec<u8>, String> {
    let mut line = Vec::new();
    input.take(MAX_LINE).read_until(b'\n', &mut line).map_err(|error| format!("cannot read a password: {error}"))?;
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line_without_its_end() {
        for (input, password) in
            [(&b"secret\n"[..], &b"secret"[..]), (b"a b \r\nmore\n", b"a b "), (b"none", b"none"), (b"\n", b"")]
        {
            assert_eq!(first_line(input).unwrap(), password);
        }
    }
}
