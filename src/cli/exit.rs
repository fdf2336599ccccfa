//! Exit codes, those of `sysexits.h` where it has one.

/// Stopped as told, or done.
pub const OK: u8 = 0;
/// A subcommand failed.
pub const FAILURE: u8 = 1;
/// Wrong usage; clap's own.
pub const USAGE: u8 = 2;
/// `dunlin bench`: messages were lost, doubled, reordered, rejected, or came where they should not.
pub const BENCH_FAULTS: u8 = 3;
/// `dunlin ctl`: there is no such client, topic or ban.
pub const NOT_FOUND: u8 = 4;
/// `dunlin ctl`: the key is missing, wrong, or its role too low.
pub const NOT_ALLOWED: u8 = 5;
/// An address could not be had, or not be reached (`EX_UNAVAILABLE`).
pub const CANNOT_BIND: u8 = 69;
/// The storage failed, and nothing more may be acknowledged (`EX_IOERR`).
pub const STORAGE: u8 = 74;
/// The config is wrong (`EX_CONFIG`).
pub const CONFIG: u8 = 78;
/// Ended by a second Ctrl-C: 128 and the signal's number, as shells have it.
pub const INTERRUPTED: u8 = 130;
