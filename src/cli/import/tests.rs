use std::path::Path;

use clap::Parser;

use super::options::NAMES;
use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: MosquittoArgs,
}

/// What a config comes to: ours, and the report.
struct Result {
    folder: tempfile::TempDir,
    config: toml::Table,
    text: String,
    report: String,
}

fn import(text: &str) -> Result {
    import_with(text, &[])
}

fn import_with(text: &str, flags: &[&str]) -> Result {
    import_beside(text, &[], flags)
}

/// Imports a config beside which there are these files in the folder `conf.d`.
fn import_beside(text: &str, files: &[(&str, &str)], flags: &[&str]) -> Result {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("mosquitto.conf"), text).unwrap();
    fs::create_dir(at("conf.d")).unwrap();
    files.iter().for_each(|(name, text)| fs::write(folder.path().join("conf.d").join(name), text).unwrap());
    let (file, out) = (at("mosquitto.conf"), at("out"));
    let args = Cli::try_parse_from([&["import", &file, "--out", &out], flags].concat()).unwrap().args;
    let imported = Reading::of(&args).unwrap().finish(&args);
    let report = imported.report.full("mosquitto.conf");
    write(&args.out, &imported.files, false).unwrap();
    fs::write(args.out.join(CONFIG), &imported.config).unwrap();
    Result { config: imported.config.parse().unwrap(), text: imported.config, report, folder }
}

impl Result {
    fn listener(&self, index: usize) -> &toml::Table {
        self.config["listeners"][index].as_table().unwrap()
    }

    fn urls(&self) -> Vec<&str> {
        self.config["listeners"].as_array().unwrap().iter().map(|listener| listener["url"].as_str().unwrap()).collect()
    }

    fn starts(&self) {
        if let Err(why) = starts(&self.folder.path().join("out").join(CONFIG)) {
            panic!("{why}\n{}", self.text);
        }
    }

    /// The report's lines about one line of the config.
    fn about(&self, line: &str) -> &str {
        let (_, rest) =
            self.report.split_once(&format!(": {line}\n")).unwrap_or_else(|| panic!("{line} is not in:\n{}", self.report));
        rest.lines().next().unwrap()
    }
}

/// A value that mosquitto takes.
fn value_for(name: &str) -> &'static str {
    match name {
        "listener" | "port" | "max_connections" | "keepalive_interval" => "1884",
        "protocol" => "mqtt",
        "log_dest" => "stderr",
        "log_type" => "all",
        "persistent_client_expiration" => "2d",
        "tls_version" => "tlsv1.2",
        "bridge_protocol_version" => "mqttv311",
        "bind_address" => "127.0.0.1",
        name if name.starts_with("max") || name.ends_with("_size") || name.starts_with("global_max") => "2",
        _ => "1",
    }
}

#[test]
fn every_option_of_mosquitto_has_a_verdict() {
    for name in NAMES {
        let value = value_for(name);
        let result = import(&format!("connection first\n{name} {value}\n"));
        assert!(!result.report.contains("mosquitto has no option"), "{}", result.report);
        assert!(!result.report.contains("not taken over:") || *name == "include_dir", "{name}: {}", result.report);
    }
}

#[test]
fn every_line_is_in_the_report_once() {
    let text = "listener 1884\n# c\nmax_queued_messages 5\nmax_queued_mesages 6\nallow_anonymous maybe\npersistence true\n";
    let result = import(text);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert_eq!(result.report.matches(&format!(": {line}\n")).count(), 1, "{line}: {}", result.report);
    }
    assert!(result.about("max_queued_mesages 6").contains("did you mean max_queued_messages?"));
    assert!(result.about("allow_anonymous maybe").contains("neither true nor false"));
    assert!(result.text.contains("# mosquitto.conf:4: max_queued_mesages 6\n"), "{}", result.text);
}

#[test]
fn without_a_listener_the_defaults_are_those_of_the_version() {
    let two = import("");
    assert_eq!(two.urls(), ["tcp://127.0.0.1:1883"]);
    assert_eq!(two.config["auth"]["allow_anonymous"].as_bool(), Some(true));
    two.starts();
    let one = import_with("", &["--mosquitto", "1"]);
    assert_eq!(one.urls(), ["tcp://0.0.0.0:1883"]);
    assert_eq!(one.config["auth"]["allow_anonymous"].as_bool(), Some(true));
    let one = import_with("password_file none\n", &["--mosquitto", "1"]);
    assert_eq!(one.config["auth"]["allow_anonymous"].as_bool(), Some(false));
}

#[test]
fn with_a_listener_anonymous_clients_are_let_in_only_if_it_says_so() {
    let result =
        import("listener 1884\nlistener 1885 127.0.0.1\nlistener 9001 ::1\nprotocol websockets\nlistener 0 /tmp/m.sock\n");
    assert_eq!(result.urls(), ["tcp://0.0.0.0:1884", "tcp://127.0.0.1:1885", "ws://[::1]:9001/mqtt", "unix:///tmp/m.sock"]);
    assert_eq!(result.config["auth"]["allow_anonymous"].as_bool(), Some(false));
    result.starts();
    assert_eq!(import("listener 1884\nallow_anonymous true").config["auth"]["allow_anonymous"].as_bool(), Some(true));
}

#[test]
fn the_old_way_to_say_where_to_listen_is_understood() {
    let result = import("port 1884\nbind_address 127.0.0.1\nmax_connections 5\nlistener 1885\nmax_connections 6\n");
    assert_eq!(result.urls(), ["tcp://127.0.0.1:1884", "tcp://0.0.0.0:1885"]);
    assert_eq!(result.listener(0)["max_connections"].as_integer(), Some(5));
    assert_eq!(result.listener(1)["max_connections"].as_integer(), Some(6));
}

/// As mosquitto 2.0.11 opens them.
#[test]
fn a_port_is_the_default_listeners_and_options_go_on_being_about_the_one_above() {
    let result = import("listener 19001\nport 19002\nmax_connections 5\nprotocol websockets\n");
    assert_eq!(result.urls(), ["tcp://0.0.0.0:19002", "ws://0.0.0.0:19001/mqtt"]);
    assert!(!result.listener(0).contains_key("max_connections"));
    assert_eq!(result.listener(1)["max_connections"].as_integer(), Some(5));
}

#[test]
fn an_included_file_begins_at_the_default_listener_and_ends_where_the_main_one_was() {
    let main = "per_listener_settings true\nlistener 19001 127.0.0.1\ninclude_dir conf.d\nmount_point m/\n";
    let result = import_beside(main, &[("a.conf", "allow_anonymous true\n")], &[]);
    assert_eq!(result.urls(), ["tcp://127.0.0.1:19001"]);
    assert_eq!(result.listener(0)["allow_anonymous"].as_bool(), Some(false));
    assert_eq!(result.listener(0)["mount_point"].as_str(), Some("m/"));
    assert!(result.about("allow_anonymous true").contains("holds nowhere"), "{}", result.report);

    let files = [
        ("a.conf", "max_connections 5\nlistener 19002\nmax_connections 6\nconnection a\naddress h\n"),
        ("b.conf", "max_qos 1\ntopic # out\ninclude_dir conf.d\n"),
    ];
    let result = import_beside(main, &files, &[]);
    assert_eq!(result.urls(), ["tcp://0.0.0.0:1883", "tcp://127.0.0.1:19001", "tcp://0.0.0.0:19002"]);
    let max = |index| result.listener(index).get("max_connections").and_then(toml::Value::as_integer);
    assert_eq!([max(0), max(1), max(2)], [Some(5), None, Some(6)]);
    assert!(result.about("topic # out").contains("before the first connection"), "{}", result.report);
    assert!(result.report.contains("b.conf:3: include_dir conf.d\n      mosquitto looks for it in its main file only"));
}

/// As mosquitto 2.0.11 does.
#[test]
fn beside_others_the_default_listener_is_opened_for_what_is_not_its_default_and_counts() {
    let only: &[&str] = &["tcp://127.0.0.1:19001"];
    let both: &[&str] = &["tcp://0.0.0.0:1883", "tcp://127.0.0.1:19001"];
    for (lines, urls) in [
        ("max_connections -1\n", only),
        ("max_connections 5\nmax_connections -1\n", only),
        ("max_qos 2\n", only),
        ("require_certificate false\n", only),
        ("use_username_as_clientid false\n", only),
        ("protocol mqtt\n", only),
        ("tls_keyform pem\n", only),
        ("tls_version tlsv1.2\n", only),
        ("password_file p\n", only),
        ("max_connections 0\n", both),
        ("max_connections 100\n", both),
        ("max_qos 1\n", both),
        ("socket_domain ipv4\n", both),
        ("per_listener_settings true\npassword_file p\n", both),
        ("per_listener_settings true\npsk_file p\n", both),
        ("per_listener_settings true\nplugin /x.so\n", both),
        ("per_listener_settings true\nallow_zero_length_clientid false\n", both),
        ("per_listener_settings true\nallow_zero_length_clientid true\n", only),
        ("per_listener_settings true\nacl_file a\nallow_anonymous true\n", only),
    ] {
        assert_eq!(import(&format!("{lines}listener 19001 127.0.0.1\n")).urls(), urls, "{lines}");
    }
    let result = import("per_listener_settings true\npassword_file p\nlistener 19001 127.0.0.1\n");
    assert_eq!(result.listener(0)["password_file"].as_str(), Some("users"));
    assert!(result.report.contains("one more with url = \"tcp://[::]:1883\" adds that"), "{}", result.report);
    let result = import("per_listener_settings true\nacl_file a\nlistener 19001 127.0.0.1\n");
    assert!(result.about("acl_file a").contains("holds nowhere"), "{}", result.report);
}

#[test]
fn beside_an_interface_the_address_of_all_says_nothing() {
    for (address, url) in
        [("0.0.0.0", "tcp://127.0.0.1:1884"), ("::", "tcp://127.0.0.1:1884"), ("10.0.0.1", "tcp://10.0.0.1:1884")]
    {
        assert_eq!(import(&format!("listener 1884 {address}\nbind_interface eth0\n")).urls(), [url]);
    }
}

#[test]
fn a_percent_sign_in_a_mount_point_stays_one() {
    let result = import("listener 1884 127.0.0.1\nmount_point 100%/%u/\n");
    assert_eq!(result.listener(0)["mount_point"].as_str(), Some("100%%/%%u/"));
    result.starts();
}

#[test]
fn per_listener_settings_give_each_door_its_users() {
    let result = import(
        "per_listener_settings true\nlistener 1884 127.0.0.1\nallow_anonymous true\nlistener 1885 127.0.0.1\npassword_file pw\nacl_file acl\n",
    );
    assert_eq!(result.listener(0)["allow_anonymous"].as_bool(), Some(true));
    assert!(!result.listener(0).contains_key("password_file"));
    assert_eq!(result.listener(1)["allow_anonymous"].as_bool(), Some(false));
    assert_eq!(result.listener(1)["password_file"].as_str(), Some("users"));
    assert!(!result.config.contains_key("auth"));
    result.starts();
}

#[test]
fn what_would_open_a_door_wider_is_left_out_or_closed() {
    // Neither a listener without its keys nor one on all interfaces.
    let psk = import("listener 8883\npsk_hint x\npsk_file y\n");
    assert_eq!(psk.urls(), ["tcp://127.0.0.1:1883"]);
    assert_eq!(psk.listener(0)["allow_anonymous"].as_bool(), Some(false));
    let interface = import("listener 1884\nbind_interface eth0\n");
    assert_eq!(interface.urls(), ["tcp://127.0.0.1:1884"]);
    // Nobody has the rights that a plugin kept back.
    let plugin = import("listener 1884\nplugin /usr/lib/mosquitto_dynamic_security.so\nplugin_opt_config_file /x.json\n");
    assert_eq!(plugin.config["auth"]["password_file"].as_str(), Some("users"));
    assert_eq!(plugin.config["auth"]["acl_file"].as_str(), Some("acl"));
    plugin.starts();
    let persist = import("listener 1884\nplugin /usr/lib/mosquitto_persist_sqlite.so\n");
    assert!(!persist.config["auth"].as_table().unwrap().contains_key("acl_file"));
    let elsewhere = import("listener 1884\nplugin /opt/persistent/auth.so\n");
    assert_eq!(elsewhere.config["auth"]["acl_file"].as_str(), Some("acl"));
    // Nor a plain socket in place of one with TLS.
    let unix = import(
        "listener 0 /tmp/m.sock\ncertfile /c.pem\nkeyfile /k.pem\ncafile /ca.pem\nrequire_certificate true\nlistener 1884 127.0.0.1\n",
    );
    assert_eq!(unix.urls(), ["tcp://127.0.0.1:1884"]);
    for line in ["listener 0 /tmp/m.sock", "certfile /c.pem", "require_certificate true"] {
        assert!(unix.about(line).contains("left out"), "{}", unix.report);
    }
}

#[test]
fn a_plugin_of_the_whole_broker_closes_listeners_with_settings_of_their_own() {
    let result = import(
        "per_listener_settings true\nglobal_plugin /usr/lib/mosquitto_dynamic_security.so\nlistener 1884 127.0.0.1\nallow_anonymous true\n\
         listener 1885 127.0.0.1\npassword_file pw\nlistener 1886 127.0.0.1\nplugin /own.so\n",
    );
    for index in 0..3 {
        let name = result.listener(index)["acl_file"].as_str().unwrap();
        let acl = fs::read_to_string(result.folder.path().join("out").join(name)).unwrap();
        assert!(acl.lines().all(|line| line.starts_with('#')), "{acl}");
    }
    result.starts();
}

#[test]
fn what_plugins_are_told_is_shown_nowhere() {
    let result = import(
        "listener 1884\nauth_plugin /x.so\nauth_opt_pass geheim\nauth_opt_redis_pass geheim\n\
         auth_opt_mongo_uri mongodb://u:geheim@h\nplugin_opt_anything geheim\nremote_pasword geheim\n",
    );
    assert!(!result.report.contains("geheim") && !result.text.contains("geheim"), "{}\n{}", result.report, result.text);
}

#[test]
fn tls_options_become_a_table() {
    let result = import(
        "listener 8883\ncertfile /c.pem\nkeyfile /k.pem\ncafile /ca.pem\nrequire_certificate true\nuse_identity_as_username true\n\
         crlfile /crl.pem\ntls_version tlsv1.3\nciphers X\n",
    );
    let tls = result.listener(0)["tls"].as_table().unwrap();
    for (key, value) in [
        ("certificate", "/c.pem"),
        ("key", "/k.pem"),
        ("client_ca", "/ca.pem"),
        ("client_certificates", "required"),
        ("identity", "common-name"),
        ("min_version", "1.3"),
    ] {
        assert_eq!(tls[key].as_str(), Some(value), "{key}");
    }
    assert_eq!(result.urls(), ["tls://0.0.0.0:8883"]);
    assert!(result.about("ciphers X").contains("cipher suites"));
    // Not asked for, the authorities are none of the listener's business.
    let plain = import("listener 8883\ncertfile /c.pem\nkeyfile /k.pem\ncafile /ca.pem\n");
    assert!(!plain.listener(0)["tls"].as_table().unwrap().contains_key("client_ca"));
}

#[test]
fn of_both_names_in_a_certificate_the_common_one_is_taken_and_the_last_line_of_each_holds() {
    for (lines, identity) in [
        ("use_identity_as_username true\nuse_subject_as_username true\n", Some("common-name")),
        ("use_subject_as_username true\nuse_identity_as_username true\n", Some("common-name")),
        ("use_subject_as_username true\nuse_identity_as_username false\n", Some("subject")),
        ("use_identity_as_username true\nuse_identity_as_username false\n", None),
    ] {
        let result = import(&format!("listener 8883\ncertfile /c.pem\nkeyfile /k.pem\ncafile /ca.pem\n{lines}"));
        let tls = result.listener(0)["tls"].as_table().unwrap();
        assert_eq!(tls.get("identity").and_then(toml::Value::as_str), identity, "{lines}");
    }
}

#[test]
fn of_two_limits_of_a_packet_the_smaller_one_holds_and_that_is_told() {
    for (lines, size) in [
        ("max_packet_size 1000\nmessage_size_limit 500\n", 1000),
        ("max_packet_size 1000000\nmessage_size_limit 500\n", 70_500),
        ("message_size_limit 500\nmax_packet_size 1000000\n", 70_500),
        ("message_size_limit 500\nmax_packet_size 1000\n", 1000),
    ] {
        let result = import(lines);
        assert_eq!(result.config["limits"]["max_packet_size"].as_integer(), Some(size), "{lines}");
        assert!(result.about(lines.lines().nth(1).unwrap()).contains("the smaller one holds"), "{}", result.report);
    }
    let unbounded = import("message_size_limit 500\nmessage_size_limit 0\nmax_inflight_messages -1\n");
    assert_eq!(unbounded.config["limits"]["max_packet_size"].as_integer(), Some(268_435_460));
    assert_eq!(unbounded.config["limits"]["max_inflight"].as_integer(), Some(65_535));
}

#[test]
fn limits_are_taken_and_mosquittos_defaults_are_written_out() {
    let result = import(
        "max_inflight_messages 0\nmax_queued_messages 0\nmessage_size_limit 1000\nretain_available false\nmax_keepalive 600\n",
    );
    let limits = result.config["limits"].as_table().unwrap();
    for (key, value) in [
        ("max_inflight", 65_535),
        ("max_queued_messages", 1_000_000_000),
        ("max_packet_size", 71_000),
        ("max_retained_messages", 0),
        ("topic_alias_maximum", 10),
    ] {
        assert_eq!(limits[key].as_integer(), Some(value), "{key}");
    }
    assert_eq!(limits["max_keep_alive"].as_str(), Some("600s"));
    assert_eq!(limits["max_session_expiry"].as_str(), Some("0s"));
    result.starts();
}

#[test]
fn the_log_level_shows_all_types_that_are_asked_for() {
    for (text, level) in [
        ("log_type error\nlog_type warning\n", "warn"),
        ("log_type information\nlog_type error\n", "info"),
        ("log_type all\n", "debug"),
        ("log_dest none\nlog_type all\n", "off"),
    ] {
        assert_eq!(import(text).config["log"]["level"].as_str(), Some(level), "{text}");
    }
    assert!(!import("log_dest stdout\n").config.contains_key("log"));
}

#[test]
fn persistence_decides_what_an_acknowledgement_is_worth() {
    assert_eq!(import("persistence true\n").config["durability"]["level"].as_str(), Some("sync"));
    assert_eq!(import("persistence false\n").config["durability"]["level"].as_str(), Some("memory"));
    let silent = import("");
    assert!(!silent.config.contains_key("durability") && silent.report.contains("persistence is not set"));
}

#[test]
fn paths_are_found_by_their_mapping_beside_the_config_or_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pw"), "").unwrap();
    let (file, out) = (folder.path().join("m.conf").display().to_string(), folder.path().join("o").display().to_string());
    let map = format!("/mosquitto/config/={}", folder.path().display());
    let args = Cli::try_parse_from(["import", &file, "--out", &out, "--map", &map]).unwrap().args;
    assert_eq!(locate(&args, "/mosquitto/config/pw"), folder.path().join("pw"));
    assert_eq!(locate(&args, "pw"), folder.path().join("pw"));
    assert_eq!(locate(&args, "/mosquitto/configs/pw"), Path::new("/mosquitto/configs/pw"));
    assert!(Cli::try_parse_from(["import", "a", "--out", "b", "--map", "c"]).is_err());
}

#[test]
fn passwords_of_bridges_stay_out_of_the_report() {
    let result =
        import("connection cloud\naddress broker.example.org\ntopic # both 1\nremote_username ada\nremote_password geheim\n");
    assert!(!result.report.contains("geheim"), "{}", result.report);
    assert!(result.text.contains("# [[bridges]]") && result.text.contains("# password = \"geheim\""), "{}", result.text);
    result.starts();
}

#[test]
fn what_is_there_is_not_overwritten_unless_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = |text: &str| [NewFile { name: "a".into(), text: text.into(), is_secret: true }];
    write(folder.path(), &file("1"), false).unwrap();
    assert!(write(folder.path(), &file("2"), false).unwrap_err().contains("--force"));
    write(folder.path(), &file("3"), true).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("a")).unwrap(), "3");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(folder.path().join("a")).unwrap().permissions().mode() & 0o777, 0o600);
}
