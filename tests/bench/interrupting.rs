//! Ctrl-C and SIGTERM: what was begun is tidied up.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::{env, fs};

use crate::program::{command, run, signal, start};
use crate::support::{Broker, eventually};

#[test]
fn sessions_are_ended_also_by_a_run_that_is_interrupted() {
    let broker = Broker::start();
    for name in ["-INT", "-TERM"] {
        let child = start(&format!("p2p -c 3 -q 1 --persistent --duration 60s -p {}", broker.address().port()));
        eventually("they are connected", || broker.metric("dunlin_sessions{state=\"online\"}") == 6.0);
        signal(name, child.id().into());
        let told = run(child.wait_with_output().expect("it ends"));
        assert!(told.out.contains("publish "), "{}\n{}", told.out, told.errors);
        for state in ["online", "offline"] {
            eventually("no session is left", || broker.metric(&format!("dunlin_sessions{{state=\"{state}\"}}")) == 0.0);
        }
    }
}

/// A comparison whose one scenario takes a minute, in a process group of its own; and the folder of its broker.
fn comparison(file: &Path, port: u16) -> (Child, PathBuf) {
    let config = format!(
        "[[brokers]]\nname = \"ours\"\nport = {port}\ncommand = [\"{{self}}\", \"--config\", \"{{dir}}/dunlin.toml\"]\n\
         [brokers.files]\n\"dunlin.toml\" = \"\"\"\ndata_dir = \"{{dir}}/data\"\n[[listeners]]\nname = \"tcp\"\n\
         url = \"tcp://127.0.0.1:{{port}}\"\n[admin]\nbind = \"none\"\n\"\"\"\n\
         [[scenarios]]\nname = \"pairs\"\nrun = \"p2p -c 2 --duration 60s\"\n"
    );
    fs::write(file, config).expect("the file can be written");
    let line = format!("compare {}", file.display());
    let child = command(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn();
    let child = child.expect("the program starts");
    let folder = env::temp_dir().join(format!("dunlin-bench-{}-ours", child.id()));
    eventually("the broker is up", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    (child, folder)
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("its address").port()
}

#[test]
fn an_interrupted_comparison_tells_no_half_rounds_and_leaves_neither_broker_nor_folder() {
    let files = tempfile::tempdir().expect("a temporary folder");
    for name in ["-INT", "-TERM"] {
        let port = free_port();
        let (child, folder) = comparison(&files.path().join("compare.toml"), port);
        // As a terminal does it: to the whole group.
        signal(name, -i64::from(child.id()));
        let told = run(child.wait_with_output().expect("it ends"));
        assert_eq!(told.code, 130, "{}\n{}", told.out, told.errors);
        assert!(!told.out.contains("pairs"), "{}", told.out);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the broker has ended");
        assert!(!folder.exists(), "its folder is gone");
    }
}

#[test]
fn the_second_signal_ends_a_comparison_at_once_and_its_broker_with_it() {
    let files = tempfile::tempdir().expect("a temporary folder");
    let port = free_port();
    let (mut child, folder) = comparison(&files.path().join("compare.toml"), port);
    eventually("it ends", || {
        let status = child.try_wait().expect("it can be waited for");
        if status.is_none() {
            signal("-INT", child.id().into());
        }
        status.is_some()
    });
    eventually("the broker has ended", || TcpStream::connect(("127.0.0.1", port)).is_err());
    eventually("its folder is gone", || !folder.exists());
}
