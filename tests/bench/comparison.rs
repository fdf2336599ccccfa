//! `bench compare`, `bench plot` and `bench relay`.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;

use crate::program::{Run, at, command, run, start};
use crate::support::{Broker, eventually};

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("its address").port()
}

fn compare(folder: &Path, config: &str, flags: &str) -> Run {
    let file = folder.join("compare.toml");
    fs::write(&file, config).expect("the file can be written");
    let outputs = ["svg", "markdown", "json"].map(|kind| format!("--{kind} {}", folder.join(format!("out.{kind}")).display()));
    let line = format!("compare {} {} {flags}", file.display(), outputs.join(" "));
    run(command(&line).output().expect("the program runs"))
}

#[test]
fn brokers_are_compared_in_turn_and_drawn() {
    let broker = Broker::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = format!(
        r#"
        rounds = 2
        common = "-L 200"
        [[brokers]]
        name = "running"
        port = {}
        pid = {}
        [[brokers]]
        name = "relay"
        port = {}
        command = ["{{self}}", "bench", "relay", "-p", "{{port}}"]
        [[scenarios]]
        name = "pairs"
        run = "p2p -c 2"
        figures = ["rate", "p50"]
        [[scenarios]]
        name = "queued"
        run = "offline -c 2 --sessions 2"
        except = ["relay"]
        figures = ["rate"]
        [[plots]]
        name = "by connections"
        run = "p2p -c {{size}}"
        sizes = [1, 10]
        figures = ["rate"]
        "#,
        broker.address().port(),
        broker.pid(),
        free_port(),
    );
    let told = compare(folder.path(), &config, "");
    assert_eq!(told.code, 0, "{}\n{}", told.out, told.errors);
    let order: Vec<_> = told.errors.lines().filter_map(|line| line.strip_prefix("1/4 pairs, ")?.split(':').next()).collect();
    assert_eq!(order, ["running", "relay", "running", "relay"]);
    assert!(told.out.contains("| A second | running | relay |") && told.out.contains("| queued: drain |"), "{}", told.out);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("it was written");
    assert_eq!(read("out.markdown").trim_end(), told.out.trim_end());
    let json: Value = serde_json::from_str(&read("out.json")).expect("JSON");
    assert_eq!(json["rows"][0]["samples"][1]["values"].as_array().map(Vec::len), Some(2));
    assert_eq!(json["series"][0]["points"].as_array().map(Vec::len), Some(2));
    for name in ["out.svg", "out-2.svg", "out-3.svg"] {
        assert!(read(name).starts_with("<svg ") && read(name).trim_end().ends_with("</svg>"), "{name}");
    }
}

#[test]
fn a_broker_that_does_not_come_up_is_told_with_its_last_words() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = format!(
        "[[brokers]]\nname = \"none\"\nport = {}\ncommand = [\"{{self}}\", \"--config\", \"{{dir}}/none.toml\"]\n\
         [[scenarios]]\nname = \"pairs\"\nrun = \"p2p -L 1\"\n",
        free_port()
    );
    let told = compare(folder.path(), &config, "");
    assert_eq!(told.code, 1);
    assert!(
        told.errors.contains("none: it ended with exit status: 78") && told.errors.contains("none.toml"),
        "{}",
        told.errors
    );
}

#[test]
fn a_broker_that_does_not_come_up_is_told_and_the_others_are_compared() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let broker =
        |name: &str, command: &str| format!("[[brokers]]\nname = \"{name}\"\nport = {}\ncommand = [{command}]\n", free_port());
    let config = [
        "rounds = 2\n",
        &broker("relay", r#""{self}", "bench", "relay", "-p", "{port}""#),
        &broker("absent", r#""no-such-broker", "{dir}""#),
        "[[scenarios]]\nname = \"pairs\"\nrun = \"p2p -c 1 -L 100\"\n",
    ];
    let told = compare(folder.path(), &config.concat(), "");
    assert_eq!(told.code, 3, "{}\n{}", told.out, told.errors);
    assert!(told.out.contains("| A second | relay | absent |"), "{}", told.out);
    assert_eq!(told.out.matches("- pairs, absent: cannot start no-such-broker: ").count(), 1, "{}", told.out);
    assert_eq!(folders_of("absent"), 0, "its folder is gone");
}

/// Folders of comparisons for brokers of this name.
fn folders_of(name: &str) -> usize {
    let entries = fs::read_dir(std::env::temp_dir()).expect("the folder for temporary files");
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    names.filter(|there| there.starts_with("dunlin-bench-") && there.ends_with(&format!("-{name}"))).count()
}

#[test]
fn a_scenario_for_brokers_that_were_not_asked_for_is_left_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = format!(
        "[[brokers]]\nname = \"relay\"\nport = {}\ncommand = [\"{{self}}\", \"bench\", \"relay\", \"-p\", \"{{port}}\"]\n\
         [[brokers]]\nname = \"other\"\nport = 1\n\
         [[scenarios]]\nname = \"pairs\"\nrun = \"p2p -c 1 -L 100\"\n\
         [[scenarios]]\nname = \"others\"\nrun = \"p2p -c 1 -L 100\"\nbrokers = [\"other\"]\n",
        free_port()
    );
    let told = compare(folder.path(), &config, "--brokers relay");
    assert_eq!(told.code, 0, "{}\n{}", told.out, told.errors);
    assert!(told.out.contains("| pairs |") && !told.out.contains("others"), "{}", told.out);
}

#[test]
fn what_a_broker_needs_is_prepared_and_who_cannot_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let broker = |prepare: &str| {
        format!(
            r#"
            [[brokers]]
            name = "tls"
            port = {}
            prepare = [["{{self}}", {prepare}]]
            command = ["{{self}}", "--config", "{{dir}}/dunlin.toml"]
            flags = "--insecure"
            [brokers.files]
            "dunlin.toml" = """
            data_dir = "{{dir}}/data"
            [[listeners]]
            name = "tls"
            url = "tls://127.0.0.1:{{port}}"
            [listeners.tls]
            certificate = "{{dir}}/certs/server.pem"
            key = "{{dir}}/certs/server-key.pem"
            [admin]
            bind = "none"
            """
            [[brokers]]
            name = "other"
            port = 1
            [[scenarios]]
            name = "pairs"
            run = "p2p -c 2 -L 100"
            cannot = {{ other = "it has no TLS" }}
            "#,
            free_port()
        )
    };
    let told = compare(folder.path(), &broker(r#""certs", "{dir}/certs""#), "");
    assert_eq!(told.code, 0, "{}\n{}", told.out, told.errors);
    assert!(told.out.trim_end().ends_with("- pairs, other: it has no TLS"), "{}", told.out);
    let told = compare(folder.path(), &broker(r#""no-such-command""#), "");
    assert_eq!(told.code, 1);
    assert!(told.errors.contains("tls: ") && told.errors.contains("no-such-command"), "{}", told.errors);
}

#[test]
fn a_mistake_in_the_file_is_told_before_anything_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let broker = "[[brokers]]\nname = \"a\"\nport = 1\n";
    for (text, reason) in [
        ("[[scenarios]]\nname = \"x\"\nrun = \"p2q -c 1\"\n", "x: \"p2q"),
        ("[[scenarios]]\nname = \"x\"\nrun = \"p2p\"\nfigures = [\"speed\"]\n", "\"speed\" is no figure; there are cpu,"),
        ("[[scenarios]]\nname = \"x\"\nrum = \"p2p\"\n", "unknown field `rum`"),
        ("[[scenarios]]\nname = \"x\"\nrun = \"p2p\"\nbrokers = [\"b\"]\n", "x: no broker \"b\" in the file"),
        ("", "nothing to compare"),
    ] {
        let told = compare(folder.path(), &format!("{broker}{text}"), "");
        assert_eq!(told.code, 1, "{text}");
        assert!(told.errors.contains(reason), "{text}: {}", told.errors);
    }
}

#[test]
fn a_plot_has_a_point_for_each_size() {
    let broker = Broker::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (json, svg) = (folder.path().join("plot.json"), folder.path().join("plot.svg"));
    let line = format!(
        "plot --sizes 10,100 --figure rate --phase drain --json {} --svg {} -- offline -L {{size}} --sessions 1 -c 1 -p {} --pid {}",
        json.display(),
        svg.display(),
        broker.address().port(),
        broker.pid()
    );
    let told = run(command(&line).output().expect("the program runs"));
    assert_eq!(told.code, 0, "{}\n{}", told.out, told.errors);
    let json: Value = serde_json::from_str(&fs::read_to_string(json).expect("JSON")).expect("JSON");
    let sizes: Vec<_> = json["series"][0]["points"].as_array().expect("points").iter().map(|point| point[0].as_u64()).collect();
    assert_eq!(sizes, [Some(10), Some(100)]);
    assert!(fs::read_to_string(svg).expect("a chart").contains("<polyline "));
}

#[test]
fn the_relay_moves_messages_of_any_size_to_those_who_want_them() {
    let port = free_port();
    let mut relay = start(&format!("relay -p {port}"));
    eventually("the relay listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    for line in
        ["p2p -c 5 -L 5000", "p2p -c 2 -L 50 -s 500000 --window 4 -V 4", "fanin -c 5 -L 1000", "fanout -c 20 -L 500 -V 4"]
    {
        at(&format!("{line} -p {port}")).assert_good();
    }
    relay.kill().and_then(|()| relay.wait()).expect("the relay ends");
}
