//! `dunlin bench relay`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use clap::Args;

use super::{complain, interrupted};
use crate::loadtest;

/// Run a relay that moves bytes from publishers to subscribers without reading them: what no broker can do better.
///
/// For QoS 0 over TCP. All that a publisher sends goes to those who have subscribed to the topic of its first message, so it
/// stands in for a broker in p2p, fanin and fanout.
#[derive(Debug, Args)]
pub(super) struct RelayArgs {
    /// Address to listen on.
    #[arg(short = 'h', long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    #[arg(short, long, default_value_t = 1883)]
    port: u16,
}

pub(super) fn relay(args: &RelayArgs) -> Result<ExitCode, String> {
    let address = SocketAddr::new(args.host, args.port);
    loadtest::relay(address, &interrupted(), |address| complain(format_args!("the relay listens on {address}")))?;
    Ok(ExitCode::SUCCESS)
}
