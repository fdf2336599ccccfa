//! Room for many sockets.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open besides the connections.
const OTHERS: u64 = 64;

/// Raises the soft limit of open files as far as the hard one lets it.
///
/// # Errors
/// If that is not enough for so many connections.
pub(super) fn make_room_for(connections: usize) -> Result<(), String> {
    let wanted = connections as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let most = limit.maximum.unwrap_or(wanted);
    let raised = Rlimit { current: Some(wanted.min(most)), maximum: limit.maximum };
    if most >= wanted && setrlimit(Resource::Nofile, raised).is_ok() {
        return Ok(());
    }
    Err(format!("{connections} connections need {wanted} open files, and this process may have {most}; see ulimit -n"))
}
