//! `dunlin health`.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::run::RunArgs;
use super::{complain, exit, say};
use crate::admin::AdminConfig;
use crate::transport::url::HostPort;

/// The port of an `[admin] bind` that names none.
const ADMIN_PORT: u16 = 18083;
/// The answer is a line or two.
const MAX_ANSWER: u64 = 64 * 1024;

/// Asks /readyz of the admin port that config, environment and flags name, and prints the answer. Exit codes: 0 ready, 1 not ready or
/// no answer, 78 the config is wrong.
#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Seconds to wait for the answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

pub(super) fn health(args: &HealthArgs) -> ExitCode {
    let config = match args.run.source().for_onlooker().load() {
        Ok(config) => config,
        Err(errors) => {
            complain(errors);
            return ExitCode::from(exit::CONFIG);
        }
    };
    let answer = plain(&config.admin).and_then(address).and_then(|at| {
        let answer = ask(at, Duration::from_secs(args.timeout)).map_err(|error| format!("{at}: {error}"))?;
        judge(&answer).map(str::to_owned)
    });
    match answer {
        Ok(body) => {
            say(body);
            ExitCode::SUCCESS
        }
        Err(why) => {
            complain(why);
            ExitCode::from(exit::FAILURE)
        }
    }
}

/// The address that is bound without TLS.
fn plain(admin: &AdminConfig) -> Result<&str, String> {
    match (admin.bind.as_str(), admin.metrics_bind.as_str()) {
        ("none", "none") => Err("there is no admin port to ask: admin.bind is \"none\"".into()),
        (bind, _) if bind != "none" && admin.tls.is_none() => Ok(bind),
        (_, "none") => Err("the admin port speaks TLS: health checks need an [admin] metrics_bind".into()),
        (_, metrics_bind) => Ok(metrics_bind),
    }
}

/// Where a port that is bound to this text is reached from this machine.
fn address(bind: &str) -> Result<SocketAddr, String> {
    let HostPort { host, port } = HostPort::parse(bind, ADMIN_PORT).map_err(|error| error.to_string())?;
    let mut addresses = (host.as_str(), port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
    let mut address = addresses.next().ok_or_else(|| format!("{host} has no address"))?;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    Ok(address)
}

fn ask(at: SocketAddr, timeout: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}

/// The body of a 200; everything else is an error with the body, or what came instead.
fn judge(answer: &str) -> Result<&str, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("what answers is no HTTP server")?;
    let body = body.trim_end();
    if head.split(' ').nth(1) == Some("200") { Ok(body) } else { Err(format!("not ready: {body}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::AdminTlsConfig;

    #[test]
    fn a_port_without_tls_is_asked() {
        let tls = || Some(AdminTlsConfig { certificate: "c".into(), key: "k".into() });
        let of = |bind: &str, metrics_bind: &str, tls| {
            let admin = AdminConfig { bind: bind.into(), metrics_bind: metrics_bind.into(), tls, ..AdminConfig::default() };
            plain(&admin).map(str::to_owned)
        };
        assert_eq!(of("a:1", "b:2", None).as_deref(), Ok("a:1"));
        assert_eq!(of("a:1", "b:2", tls()).as_deref(), Ok("b:2"));
        assert_eq!(of("none", "b:2", None).as_deref(), Ok("b:2"));
        assert!(of("a:1", "none", tls()).unwrap_err().contains("metrics_bind"));
        assert!(of("none", "none", None).unwrap_err().contains("no admin port"));
    }

    #[test]
    fn a_port_for_all_addresses_is_asked_on_loopback() {
        for (bind, at) in [
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("127.0.0.2", "127.0.0.2:18083"),
        ] {
            assert_eq!(address(bind).unwrap(), at.parse().unwrap(), "{bind}");
        }
    }

    #[test]
    fn only_a_200_is_ready() {
        assert_eq!(judge("HTTP/1.1 200 OK\r\nA: b\r\n\r\nready\n"), Ok("ready"));
        assert_eq!(judge("HTTP/1.1 503 Service Unavailable\r\n\r\nstorage\n"), Err("not ready: storage".into()));
        assert!(judge("SSH-2.0-x\r\n").is_err());
    }
}
