//! `dunlin passwd`.

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;

use clap::Args;

use super::complain;
use crate::auth::{self, HashKind};

/// The longest password that CONNECT can carry, in bytes.
const MAX_PASSWORD: usize = 65_535;

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
    check_user(&args.user)?;
    let hash = if args.delete { None } else { Some(hash(args)?) };
    auth::update_password_file(&args.file, &args.user, hash.as_deref())
        .map_err(|error| format!("{}: {error}", args.file.display()))?;
    let done = if args.delete { "deleted from" } else { "written to" };
    complain(format_args!("user {:?} {done} {}", args.user, args.file.display()));
    Ok(())
}

/// One line holds one user, with a colon after the name.
fn check_user(user: &str) -> Result<(), String> {
    if user.is_empty() || user.contains(':') || user.contains(char::is_control) {
        return Err("a user name must not be empty, nor contain a colon or control characters".into());
    }
    Ok(())
}

fn hash(args: &PasswdArgs) -> Result<String, String> {
    let is_asked = !args.stdin && io::stdin().is_terminal();
    let password = if is_asked { ask(&args.user)? } else { first_line(io::stdin().lock())? };
    if password.is_empty() {
        return Err("the password must not be empty".into());
    }
    if password.len() > MAX_PASSWORD {
        return Err(format!("the password must have at most {MAX_PASSWORD} bytes"));
    }
    let kind = if args.scram { HashKind::ScramSha256 } else { HashKind::Argon2id };
    Ok(auth::hash_password(&password, kind))
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
    let limit = MAX_PASSWORD as u64 + 3;
    input.take(limit).read_until(b'\n', &mut line).map_err(|error| format!("cannot read a password: {error}"))?;
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

    #[test]
    fn a_user_name_that_would_break_the_file_is_refused() {
        assert!(check_user("sensor 1/a@b").is_ok());
        for user in ["", "a:b", "a\nb:$7$…"] {
            assert!(check_user(user).is_err(), "{user:?}");
        }
    }
}
