//! Keys, roles, and what the server says to the browser about the page.

use crate::house::{add_key, browse, look};
use crate::program::Program;
use crate::support::Broker;

const CONFIG: &str = "[admin.api]\nkey_file = \"@DIR@/keys\"\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n";

#[test]
fn a_key_is_asked_for_and_decides_what_is_offered() {
    let folder = tempfile::tempdir().unwrap();
    let [viewer, operator] = ["viewer", "operator"].map(|role| add_key(&folder, role, role));
    let broker = Broker::with_config_in(folder, CONFIG);
    look(&broker, "keys", &[&viewer, &operator]);
}

#[test]
fn a_key_that_is_revoked_ends_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let key = add_key(&folder, "ops", "admin");
    let other = add_key(&folder, "other", "admin");
    let keys = folder.path().join("keys");
    let mut broker = Broker::with_config_in(folder, CONFIG);
    let Some(mut command) = browse(&broker, "revoked", &[&key]) else { return };
    let mut page = Program::start(&mut command);
    page.expect_line("signed in");
    let text = std::fs::read_to_string(&keys).unwrap();
    let kept: String = text.lines().filter(|line| !line.starts_with("ops")).map(|line| format!("{line}\n")).collect();
    assert!(kept.len() < text.len() && kept.contains(other.split('.').next().unwrap()), "{text}");
    std::fs::write(&keys, kept).unwrap();
    broker.signal("-HUP");
    broker.wait_for_log("config");
    page.succeed();
}

#[test]
fn the_page_can_be_turned_off() {
    let broker = Broker::with_config("[admin]\ndashboard = false\n[[listeners]]\nname = 'tcp'\nurl = 'tcp://127.0.0.1:0'\n");
    assert!(broker.get("/dashboard/").0.contains("404") && broker.get("/api/v1/status").0.contains("200"));
}
