//! Running `dunlin bench` and reading what it says.

use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::support::Broker;

/// What a run came to.
pub struct Run {
    pub code: i32,
    pub out: String,
    pub errors: String,
    /// What `--json` wrote; null if nothing.
    pub json: Value,
}

pub fn command(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command.arg("bench").args(line.split_whitespace()).stdin(Stdio::null());
    command
}

/// Runs a scenario on this broker with the JSON in a file.
pub fn bench(broker: &Broker, line: &str) -> Run {
    let port = broker.address().port();
    at(&format!("{line} -p {port} --pid {}", broker.pid()))
}

/// The same, of a line that says where the broker is.
pub fn at(line: &str) -> Run {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("report.json");
    let output = command(line).arg("--json").arg(&file).output().expect("the program runs");
    let json = std::fs::read_to_string(&file).ok().and_then(|text| serde_json::from_str(&text).ok());
    Run { json: json.unwrap_or_default(), ..run(output) }
}

/// Starts it and goes on.
pub fn start(line: &str) -> Child {
    command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

/// Sends a signal, by `kill`; to all of its process group if the number is negative.
pub fn signal(signal: &str, process: i64) {
    let status = Command::new("kill").args([signal, "--", &process.to_string()]).status().expect("kill runs");
    assert!(status.success(), "kill {signal} {process}");
}

pub fn run(output: Output) -> Run {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let code = output.status.code().expect("it ends by itself");
    Run { code, out: text(output.stdout), errors: text(output.stderr), json: Value::Null }
}

impl Run {
    /// Everything came, once and in order.
    pub fn assert_good(&self) -> &Self {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.errors);
        for fault in ["lost", "doubled", "reordered", "unexpected", "rejected"] {
            assert_eq!(self.count(fault), 0, "{fault}\n{}", self.out);
        }
        assert_eq!(self.count("delivered"), self.count("expected"), "{}", self.out);
        self
    }

    /// One of the counts of messages.
    pub fn count(&self, name: &str) -> u64 {
        self.json["messages"][name].as_u64().unwrap_or_else(|| panic!("no count {name}: {}\n{}", self.out, self.errors))
    }

    pub fn phase(&self, name: &str) -> &Value {
        let phases = self.json["phases"].as_array().expect("phases");
        phases.iter().find(|phase| phase["name"] == name).unwrap_or_else(|| panic!("no phase {name}: {}", self.out))
    }
}
