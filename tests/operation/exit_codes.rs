use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::process::{command, dunlin, folder, outcome, write};
use crate::support::Broker;
use crate::support::client::{Client, V5, V311};

#[test]
fn a_wrong_config_ends_the_start_with_78_and_all_that_is_wrong_with_it() {
    let folder = folder();
    let config = r#"
[limits]
max_packet_sise = "1MiB"
max_inflight = "many"
max_queued_messages = 0
[auth]
acl_file = "nowhere"
[[listeners]]
name = "tcp"
url = "tpc://127.0.0.1:0"
"#;
    let path = write(folder.path(), "dunlin.toml", config);
    for arguments in [&["--config", &path][..], &["run", "--config", &path], &["check", "--config", &path]] {
        let (code, _, told) = outcome(&dunlin(folder.path(), arguments));
        assert_eq!(code, 78, "{told}");
        for part in [
            &*path,
            "max_packet_sise",
            "max_packet_size",
            "limits.max_inflight",
            "limits.max_queued_messages",
            "auth.acl_file",
            "nowhere",
            "tpc",
        ] {
            assert!(told.contains(part), "{part} is not in:\n{told}");
        }
    }
}

#[test]
fn a_config_file_that_is_missing_or_no_toml_is_78_and_named() {
    let folder = folder();
    let broken = write(folder.path(), "broken.toml", "[limits\n");
    for path in ["missing.toml", &broken] {
        let (code, _, told) = outcome(&dunlin(folder.path(), &["--config", path]));
        assert_eq!(code, 78, "{told}");
        assert!(told.contains(path), "{told}");
    }
}

#[test]
fn a_password_or_acl_file_with_an_error_is_78_with_its_line() {
    let folder = folder();
    write(folder.path(), "bad", "# all is well\nusre alice\n");
    for key in ["acl_file", "password_file"] {
        let config = format!("[auth]\n{key} = \"bad\"\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n");
        let path = write(folder.path(), "dunlin.toml", &config);
        let (code, _, told) = outcome(&dunlin(folder.path(), &["--config", &path, "--admin", "none"]));
        assert_eq!(code, 78, "{told}");
        assert!(told.contains("bad:2"), "{told}");
    }
}

#[test]
fn an_address_in_use_is_69_and_named() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for arguments in [
        ["--listen".into(), format!("tcp://{address}"), "--admin".into(), "none".into()],
        ["--listen".into(), "tcp://127.0.0.1:0".into(), "--admin".into(), address.clone()],
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, _, told) = outcome(&dunlin(folder.path(), &arguments));
        assert_eq!(code, 69, "{told}");
        assert!(told.contains(&address), "{told}");
    }
}

#[test]
fn a_data_directory_in_use_or_out_of_reach_is_74_and_named() {
    let broker = Broker::start();
    let folder = folder();
    let file = write(folder.path(), "file", "");
    for data in [broker.folder.path().join("data").display().to_string(), format!("{file}/data")] {
        let arguments = ["--listen", "tcp://127.0.0.1:0", "--admin", "none", "--data-dir", &data];
        let (code, _, told) = outcome(&dunlin(folder.path(), &arguments));
        assert_eq!(code, 74, "{told}");
        assert!(told.contains(&data), "{told}");
    }
    Client::connect(broker.address(), V5, "a").ping();
}

#[test]
fn wrong_usage_is_2() {
    let folder = folder();
    for arguments in [&["--listne", "x"][..], &["fly"], &["--log-format", "xml"], &["passwd"]] {
        let (code, _, told) = outcome(&dunlin(folder.path(), arguments));
        assert_eq!(code, 2, "{told}");
        assert!(told.contains("--help"), "{told}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_lost_on_a_full_disk_is_1_and_told_once() {
    let folder = folder();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for arguments in [&["version"][..], &["config", "print"], &["completions", "bash"], &["man"]] {
        let (code, _, told) = outcome(&command(folder.path(), arguments).stdout(full()).output().unwrap());
        assert_eq!((code, told.matches("standard output: ").count()), (1, 1), "{arguments:?}: {told}");
    }
    let add = ["apikey", "add", "grafana", "--file", "keys"];
    let (code, _, told) = outcome(&command(folder.path(), &add).stdout(full()).output().unwrap());
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("\"grafana\" is not added"), "{told}");
    let keys = std::fs::read_to_string(folder.path().join("keys")).unwrap();
    assert!(!keys.contains("grafana"), "nobody has its secret: {keys}");
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let folder = folder();
    for arguments in [&["version"][..], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (code, _, told) = outcome(&command(folder.path(), arguments).stdout(writer).output().unwrap());
        assert_eq!((code, told.as_str()), (0, ""), "{arguments:?}");
    }
}

/// A broker as a person starts it, with nothing added by the test; its standard error until it is ready.
fn start(folder: &Path, arguments: &[&str]) -> (Child, Vec<String>) {
    let mut child = command(folder, arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
        let is_last = line.contains(" ready ");
        lines.push(line);
        if is_last {
            break;
        }
    }
    assert!(lines.last().is_some_and(|line| line.contains(" ready ")), "{lines:#?}");
    (child, lines)
}

fn address(lines: &[String]) -> std::net::SocketAddr {
    let line = lines.iter().find(|line| line.contains("listener=\"tcp\"")).unwrap();
    line.split_once("address=\"").unwrap().1.split_once('"').unwrap().0.parse().unwrap()
}

fn stop(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn listen_and_data_dir_are_enough_for_anonymous_clients_on_loopback() {
    let folder = folder();
    for arguments in [&["--listen", "tcp://127.0.0.1:0"][..], &["--listen", "tcp://127.0.0.1:0", "--data-dir", "elsewhere"]] {
        let (child, lines) = start(folder.path(), arguments);
        Client::connect(address(&lines), V311, "a").ping();
        stop(child);
    }
    assert!(folder.path().join("data").is_dir() && folder.path().join("elsewhere").is_dir());
}

/// The default admin port can be had by one of them at most.
#[test]
fn two_brokers_run_side_by_side_and_one_goes_without_the_default_admin_port() {
    let folders = [folder(), folder()];
    let brokers = folders.each_ref().map(|folder| start(folder.path(), &["--listen", "tcp://127.0.0.1:0"]));
    for (_, lines) in &brokers {
        Client::connect(address(lines), V5, "a").ping();
    }
    let warned =
        brokers.iter().filter(|(_, lines)| lines.iter().any(|line| line.contains("WARN") && line.contains("no admin port")));
    assert!(warned.count() >= 1);
    brokers.into_iter().for_each(|(child, _)| stop(child));
}
