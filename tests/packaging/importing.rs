//! Moving over from mosquitto: its own example, what people run, and a broker on what comes out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dunlin::packet::QoS;
use tempfile::TempDir;

use crate::support::Broker;
use crate::support::client::{Client, V5, V311, connect};
use crate::tools::{dunlin, installed, read, run};

/// As `mosquitto_passwd` wrote it; the password is `secret`.
const ALICE: &str =
    "alice:$7$101$rSzWFBWixXixnDRf$LOevje1+R8kSxaYQH6D2JJrPEwqav9sYK6JBNCwBZuxX5NUctyGM7XbGrOQxgMKIz6CgwXFtDCTvs0Gv/mfFkg==\n";

struct Import {
    folder: TempDir,
    /// What was said on both outputs.
    told: String,
}

impl Import {
    /// Imports a config that lies in a folder with these files; `@DIR@` in it stands for the folder.
    fn of(config: &str, files: &[(&str, &str)], flags: &[&str], code: i32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            fs::write(folder.path().join(name), text).unwrap();
        }
        Self::in_folder(folder, config, flags, code)
    }

    fn in_folder(folder: TempDir, config: &str, flags: &[&str], code: i32) -> Self {
        let here = |text: &str| text.replace("@DIR@", &folder.path().display().to_string());
        let file = folder.path().join("mosquitto.conf");
        fs::write(&file, here(config)).unwrap();
        let flags: Vec<String> = flags.iter().map(|flag| here(flag)).collect();
        let told = run(
            dunlin().args(["import", "mosquitto"]).arg(&file).arg("--out").arg(folder.path().join("out")).args(flags),
            code,
        );
        Self { folder, told }
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join("out").join(name)
    }

    fn report(&self) -> String {
        read(&self.out("import-report.txt"))
    }

    fn config(&self) -> toml::Table {
        read(&self.out("dunlin.toml")).parse().unwrap()
    }

    /// Runs a broker on the result, whose doors take any port of this machine.
    fn start(&self) -> Broker {
        let any_port = |line: &str| match line.strip_prefix("url = \"").and_then(|url| url.split_once("://")) {
            Some((scheme, rest)) if scheme != "unix" => {
                let path = rest.find('/').map_or("\"", |at| &rest[at..]);
                format!("url = \"{scheme}://127.0.0.1:0{path}")
            }
            _ => line.to_owned(),
        };
        let text: Vec<String> = read(&self.out("dunlin.toml")).lines().map(any_port).collect();
        fs::write(self.out("here.toml"), text.join("\n")).unwrap();
        let path = self.out("here.toml").display().to_string();
        Broker::with_args(&["--config", &path, "--log-level", "info"])
    }
}

fn log_in(broker: &Broker, listener: &str, user: &'static str, password: &'static str) -> u8 {
    let mut packet = connect(V5);
    packet.username = Some(user);
    packet.password = Some(password.as_bytes());
    Client::dial(broker.listener(listener), V5).try_log_in(packet)
}

/// A file of Debian's package, installed or unpacked by `tests/run`.
fn example(name: &str) -> String {
    let path = Path::new("usr/share/doc/mosquitto/examples").join(name);
    let there = [Path::new("/").join(&path), installed("mosquitto").join(&path)];
    let found = there.iter().find(|path| path.exists());
    read(found.unwrap_or_else(|| panic!("{} is not there: run tests/run once", path.display())))
}

/// Nothing but comments, so that mosquitto serves this machine alone; and what the image of mosquitto runs with.
#[test]
fn mosquittos_own_example_comes_to_a_broker_for_this_machine() {
    let import = Import::of(&example("mosquitto.conf"), &[], &[], 0);
    assert!(import.told.contains("0 lines read, 0 not taken over"), "{}", import.told);
    assert_eq!(import.config()["listeners"][0]["url"].as_str(), Some("tcp://127.0.0.1:1883"));
    let broker = import.start();
    Client::connect(broker.address(), V311, "a").ping();
}

/// The example has every option as a comment; each as a line of its own has a verdict.
#[test]
fn every_option_in_mosquittos_example_is_known() {
    let text = example("mosquitto.conf");
    let is_option = |name: &str| {
        name.len() > 2 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.".contains(&byte))
    };
    let options: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')))
        .filter(|line| is_option(line.split(' ').next().unwrap()))
        .collect();
    assert!(options.len() > 80, "{options:?}");
    let import = Import::of(&options.join("\n"), &[], &[], 0);
    assert!(!import.told.contains("mosquitto has no option"), "{}", import.told);
    assert!(import.told.contains(&format!("{} lines read", options.len())), "{}", import.told);
}

#[test]
fn debians_default_config_is_taken_with_what_lies_in_conf_d() {
    let config = "pid_file /run/mosquitto/mosquitto.pid\npersistence true\npersistence_location /var/lib/mosquitto/\n\
                  log_dest file /var/log/mosquitto/mosquitto.log\ninclude_dir @DIR@/conf.d\n";
    let import = Import::of(config, &[("conf.d/local.conf", "listener 1883\nallow_anonymous true\n")], &[], 0);
    for told in ["mosquitto.conf:1: pid_file", "mosquitto.conf:4: log_dest file", "mosquitto.db is not read"] {
        assert!(import.told.contains(told), "{told} is not in:\n{}", import.told);
    }
    assert!(import.report().contains("local.conf:1: listener 1883"));
    let broker = import.start();
    let mut client = Client::connect(broker.listener("tcp-1883"), V311, "a");
    client.subscribe("t", QoS::AtLeastOnce);
    client.publish("t", "x", QoS::AtLeastOnce);
    client.expect_message("t", "x");
}

/// What many run in mosquitto's image: folders mounted under /mosquitto.
#[test]
fn the_folders_of_the_image_are_found_by_their_mapping() {
    let config = "persistence true\npersistence_location /mosquitto/data/\nlog_dest stdout\n\nlistener 1883\nlistener 9001\n\
                  protocol websockets\nallow_anonymous false\npassword_file /mosquitto/config/password.txt\nacl_file /mosquitto/config/acl\n\
                  max_queued_messages 5000\n";
    let files = [
        ("config/password.txt", &*format!("{ALICE}bob:plain\n")),
        ("config/acl", "user alice\ntopic readwrite home/#\ntopic a b\npattern read x%u\n"),
    ];
    let import = Import::of(config, &files, &["--map", "/mosquitto/config=@DIR@/config"], 0);
    for told in ["password.txt:2: bob:…", "acl:4: pattern read x%u", "[::]:9001/mqtt", "IPv4 only"] {
        assert!(import.told.contains(told) || import.report().contains(told), "{told} is not in:\n{}", import.told);
    }
    assert!(!import.told.contains("plain"), "{}", import.told);
    assert_eq!(import.config()["limits"]["max_queued_messages"].as_integer(), Some(5000));
    let broker = import.start();
    for listener in ["tcp-1883", "ws-9001"] {
        broker.listener(listener);
    }
    assert_eq!(log_in(&broker, "tcp-1883", "alice", "secret"), 0);
    assert_eq!(log_in(&broker, "tcp-1883", "alice", "wrong"), 0x86);
    assert_eq!(log_in(&broker, "tcp-1883", "bob", "plain"), 0x86);
    assert_eq!(Client::refused(broker.listener("tcp-1883"), connect(V5)), 0x87);

    let mut packet = connect(V5);
    packet.username = Some("alice");
    packet.password = Some(b"secret");
    let (mut alice, _) = Client::connect_with(broker.listener("tcp-1883"), packet);
    assert_eq!(alice.publish("home/door", "x", QoS::AtLeastOnce), 0x10, "nobody has subscribed, and she may");
    assert_eq!(alice.publish("office/door", "x", QoS::AtLeastOnce), 0x87);
}

/// As the Home Assistant add-on runs mosquitto: a plugin knows the users, and four doors.
#[test]
fn the_home_assistant_add_on_starts_closed_until_it_has_users() {
    let config = "protocol mqtt\nuser root\nlog_dest stdout\nlog_type error\nlog_type warning\npersistence true\npersistence_location /data/\n\
                  auth_plugin /usr/share/mosquitto/go-auth.so\nauth_opt_backends files,http\nauth_opt_hasher pbkdf2\n\
                  auth_opt_files_password_path @DIR@/pw\nauth_opt_files_acl_path @DIR@/acl\nauth_opt_http_host 127.0.0.1\n\
                  listener 1883\nprotocol mqtt\nlistener 1884\nprotocol websockets\n\
                  listener 8883\nprotocol mqtt\ncafile @DIR@/certs/ca.pem\ncertfile @DIR@/certs/server.pem\nkeyfile @DIR@/certs/server-key.pem\n\
                  require_certificate false\n\
                  listener 8884\nprotocol websockets\ncertfile @DIR@/certs/server.pem\nkeyfile @DIR@/certs/server-key.pem\n";
    let folder = tempfile::tempdir().unwrap();
    run(dunlin().arg("certs").arg(folder.path().join("certs")), 0);
    fs::write(folder.path().join("acl"), "user homeassistant\ntopic readwrite #\n").unwrap();
    fs::write(folder.path().join("pw"), "homeassistant:PBKDF2$sha512$100000$c2FsdA==$aGFzaA==\n").unwrap();
    let import = Import::in_folder(folder, config, &[], 0);
    for told in ["auth_plugin /usr/share/mosquitto/go-auth.so", "auth_opt_files_password_path", "log_dest stdout"] {
        assert!(import.told.contains(told), "{told} is not in:\n{}", import.told);
    }
    assert_eq!(import.config()["log"]["level"].as_str(), Some("warn"));

    let password = import.folder.path().join("password");
    fs::write(&password, "secret\n").unwrap();
    let broker = import.start();
    for listener in ["tcp-1883", "ws-1884", "tls-8883", "wss-8884"] {
        broker.listener(listener);
    }
    assert_eq!(log_in(&broker, "tcp-1883", "homeassistant", "secret"), 0x86);
    drop(broker);
    run(
        dunlin()
            .arg("passwd")
            .arg(import.out("users"))
            .args(["homeassistant", "--stdin"])
            .stdin(fs::File::open(&password).unwrap()),
        0,
    );
    let broker = import.start();
    assert_eq!(log_in(&broker, "tcp-1883", "homeassistant", "secret"), 0);
}

#[test]
fn client_certificates_are_asked_for_and_name_their_users() {
    let folder = tempfile::tempdir().unwrap();
    for certs in ["certs", "strangers"] {
        run(dunlin().arg("certs").arg(folder.path().join(certs)).args(["--client", "sensor"]), 0);
    }
    fs::write(folder.path().join("acl"), "pattern readwrite devices/%u/#\n").unwrap();
    let config = "listener 8883\ncafile certs/ca.pem\ncertfile certs/server.pem\nkeyfile certs/server-key.pem\nrequire_certificate true\n\
                  use_identity_as_username true\ntls_version tlsv1.2\nacl_file acl\n";
    let import = Import::in_folder(folder, config, &[], 0);
    let broker = import.start();
    let port = broker.listener("tls-8883").port().to_string();
    let file = |name: &str| import.folder.path().join(name).display().to_string();
    let publish = |topic: &str, certificates: &[&str], code: i32| {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "localhost", "-p", &port, "-V", "5", "-q", "1", "-t", topic, "-m", "x", "-d"]);
        run(command.args(["--cafile", &file("certs/ca.pem")]).args(certificates), code)
    };
    let sensor = [("--cert", "client.pem"), ("--key", "client-key.pem")];
    let of = |folder: &str| {
        sensor.iter().flat_map(|(flag, name)| [(*flag).to_owned(), file(&format!("{folder}/{name}"))]).collect::<Vec<_>>()
    };
    let (own, foreign) = (of("certs"), of("strangers"));
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let foreign: Vec<&str> = foreign.iter().map(String::as_str).collect();
    assert!(publish("devices/sensor/a", &own, 0).contains("PUBACK"));
    let denied = publish("devices/other/a", &own, 0);
    assert!(denied.contains("RC:135"), "{denied}");
    for certificates in [&[][..], &foreign] {
        let mut command = Command::new("mosquitto_pub");
        command
            .args(["-h", "localhost", "-p", &port, "-t", "a", "-m", "x", "--cafile", &file("certs/ca.pem")])
            .args(certificates);
        assert_ne!(command.output().unwrap().status.code(), Some(0), "{certificates:?}");
    }
}

#[test]
fn what_cannot_start_is_told_with_its_reason() {
    let config = "listener 8883\ncertfile /nonexistent/server.pem\nkeyfile /nonexistent/key.pem\n";
    let import = Import::of(config, &[], &[], 1);
    assert!(import.told.contains("does not start yet") && import.told.contains("/nonexistent/server.pem"), "{}", import.told);
    assert!(import.out("dunlin.toml").exists());
    let nothing = run(dunlin().args(["import", "mosquitto", "/nonexistent.conf", "--out", "/nonexistent"]), 1);
    assert!(nothing.contains("cannot read /nonexistent.conf"), "{nothing}");
}

/// mosquitto does not start then. What stands in such a file may be what closes a door.
#[test]
fn an_included_file_that_cannot_be_read_ends_the_import() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    fs::write(folder.path().join("conf.d/a.conf"), "listener 1883\n").unwrap();
    std::os::unix::fs::symlink("/nonexistent", folder.path().join("conf.d/b.conf")).unwrap();
    let import = Import::in_folder(folder, "include_dir @DIR@/conf.d\n", &[], 1);
    assert!(import.told.contains("conf.d/b.conf"), "{}", import.told);
    assert!(!import.out("dunlin.toml").exists());
}

/// Of mosquitto's denials those that have no like here deny more, and none is lost.
#[test]
fn a_denial_that_cannot_be_said_as_it_is_denies_more() {
    let config = "listener 1883\nallow_anonymous true\nacl_file acl\n";
    let import = Import::of(config, &[("acl", "pattern deny a/x%c/s\npattern readwrite a/#\n")], &[], 0);
    assert!(import.told.contains("acl:1: pattern deny a/x%c/s"), "{}", import.told);
    let broker = import.start();
    let mut client = Client::connect(broker.address(), V5, "me");
    assert_eq!(client.publish("a/xme/s", "", QoS::AtLeastOnce), 0x87);
}

#[test]
fn a_bridge_is_noted_and_the_rest_starts() {
    let config = "listener 1883\nallow_anonymous true\n\nconnection cloud\naddress broker.example.org:8883\ntopic sensors/# out 1 \"\" site/\n\
                  remote_username site\nremote_password geheim\nbridge_cafile /etc/ssl/ca.pem\n";
    let import = Import::of(config, &[], &[], 0);
    let text = read(&import.out("dunlin.toml"));
    for line in [
        "# [[bridges]]",
        "# name = \"cloud\"",
        "# urls = [\"tls://broker.example.org:8883\"]",
        "# ca = \"/etc/ssl/ca.pem\"",
        "bridge_cafile /etc/ssl/ca.pem",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    assert!(!import.told.contains("geheim") && !import.report().contains("geheim"));
    Client::connect(import.start().address(), V5, "a").ping();
}
