//! `dunlin pub` and `dunlin sub`, with the letters, the output and the exit codes of mosquitto_pub and mosquitto_sub.

mod args;
mod format;
mod properties;
mod publish;
mod session;
mod source;
mod subscribe;

use std::process::ExitCode;

pub(super) use publish::PubArgs;
pub(super) use subscribe::SubArgs;

/// The same exit codes as mosquitto's tools have, so that scripts need not know which it is.
pub(super) const EXIT_CODES: &str = "Exit codes: 0 done; 1 there is no connection, the server has refused a message, one could not \
    be sent, or another error; 2 wrong usage; 27 the time of -W has passed; 130 or 143 pub was interrupted by SIGINT or SIGTERM before \
    it was done (sub ends with 0 then); 1 to 5 the server's return code if it refuses an MQTT 3.1 or 3.1.1 connection, its reason code \
    (128 and more) if it refuses an MQTT 5.0 connection.";

const FAILED: u8 = 1;
const TIMED_OUT: u8 = 27;

pub(super) fn publish(args: PubArgs) -> ExitCode {
    run(args.connect.quiet, move || publish::run(args))
}

pub(super) fn subscribe(args: SubArgs) -> ExitCode {
    run(args.connect.quiet, move || subscribe::run(args))
}

/// Runs to the end on this thread; an error is a sentence for people.
fn run<F: Future<Output = Result<u8, Error>>>(is_quiet: bool, make: impl FnOnce() -> Result<F, Error>) -> ExitCode {
    let result = make().and_then(|future| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::new(FAILED, error))?;
        let result = runtime.block_on(future);
        runtime.shutdown_background(); // A thread may still wait for standard input.
        result
    });
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if !is_quiet {
                super::complain(format_args!("Error: {}", error.message));
            }
            ExitCode::from(error.code)
        }
    }
}

/// Why it came to nothing, and the exit code for it.
#[derive(Debug)]
struct Error {
    code: u8,
    message: String,
}

impl Error {
    /// Code 0 becomes 1: a server may give a reason that sounds like a success.
    fn new(code: u8, message: impl std::fmt::Display) -> Self {
        Self { code: code.max(FAILED), message: message.to_string() }
    }

    fn usage(message: impl std::fmt::Display) -> Self {
        Self::new(super::exit::USAGE, message)
    }
}
