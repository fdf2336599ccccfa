//! Room for many sockets.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open besides the connections.
const OTHERS: u64 = 64;

/// Raises the soft limit of open files as far as the hard one lets it.
///
/// # Errors
/// If that is not enough for so many connections.
pub(super) fn make_room_for(connections: usize) -> Result<(), String> {
    let wanted = (connections as u64).saturating_add(OTHERS);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let most = limit.maximum.unwrap_or(wanted);
    let raised = Rlimit { current: Some(wanted.min(most)), maximum: limit.maximum };
    // What can be had is taken even if it is not enough: a relay serves as many as it can.
    if setrlimit(Resource::Nofile, raised).is_ok() && most >= wanted {
        return Ok(());
    }
    Err(format!("{connections} connections need {wanted} open files, and this process may have {most}; see ulimit -n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_had_is_taken_though_it_is_not_enough() {
        let before = getrlimit(Resource::Nofile);
        let Some(most) = before.maximum else { return };
        let most_connections = usize::try_from(most).unwrap();
        assert!(make_room_for(most_connections).unwrap_err().contains("see ulimit -n"));
        assert_eq!(getrlimit(Resource::Nofile).current, Some(most));
    }
}
