use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::schema::Schema;
use super::*;
use crate::units::{ByteSize, Span};

/// A folder with `dunlin.toml` in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("dunlin.toml"), text).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn source(&self, variables: &[(&str, &str)], flags: Flags) -> ConfigSource {
        ConfigSource::new(Some(self.path().join("dunlin.toml")), flags).with_environment(variables)
    }

    /// The errors as shown, with the folder cut away.
    fn errors(&self, variables: &[(&str, &str)], flags: Flags) -> Vec<String> {
        let errors = self.source(variables, flags).load().unwrap_err();
        let folder = format!("{}/", self.path().display());
        errors.to_string().lines().map(|line| line.replace(&folder, "")).collect()
    }
}

fn load(text: &str) -> Config {
    Folder::new(text).source(&[], Flags::default()).load().unwrap()
}

fn errors(text: &str) -> Vec<String> {
    Folder::new(text).errors(&[], Flags::default())
}

fn without_file(variables: &[(&str, &str)], flags: Flags) -> ConfigSource {
    ConfigSource::new(None, flags).with_environment(variables)
}

#[test]
fn nothing_set_is_the_default() {
    let config = without_file(&[], Flags::default()).load().unwrap();
    assert_eq!(config, Config::default());
    let urls: Vec<&str> = config.listeners.iter().map(|listener| listener.url.as_str()).collect();
    assert_eq!(urls, ["tcp://127.0.0.1:1883", "ws://127.0.0.1:8083/mqtt"]);
    assert_eq!(config.admin.bind, "127.0.0.1:18083");
    assert_eq!(config.warnings(), []);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let folder = Folder::new("[limits]\nmax_inflight = 1\nmax_subscriptions = 1\n[log]\nlevel = \"error\"\n");
    let variables = [("DUNLIN__LIMITS__MAX_INFLIGHT", "2"), ("DUNLIN__LOG__LEVEL", "debug"), ("HOME", "/root")];
    let flags = Flags { log_level: Some("warn".into()), ..Flags::default() };
    let config = folder.source(&variables, flags).load().unwrap();
    assert_eq!(config.limits.max_subscriptions, 1);
    assert_eq!(config.limits.max_inflight, 2);
    assert_eq!(config.log.level, "warn");
}

#[test]
fn variables_are_read_as_what_their_key_takes() {
    let variables = [
        ("DUNLIN__LIMITS__MAX_PACKET_SIZE", "64KiB"),
        ("DUNLIN__LIMITS__MAX_CONNECT_SIZE", "4096"),
        ("DUNLIN__LIMITS__CONNECT_TIMEOUT", "1m30s"),
        ("DUNLIN__LIMITS__QUEUE_QOS0", "TRUE"),
        ("DUNLIN__AUTH__ALLOW_ANONYMOUS", "false"),
        ("DUNLIN__SYS__NODE", "42"),
        ("DUNLIN__ADMIN__BIND", "none"),
        ("DUNLIN__DATA_DIR", "relative"),
        ("DUNLIN__AUTH__ACL_FILE", ""),
    ];
    let config = without_file(&variables, Flags::default()).load().unwrap();
    assert_eq!(config.limits.max_packet_size, ByteSize(65_536));
    assert_eq!(config.limits.max_connect_size, ByteSize(4096));
    assert_eq!(config.limits.connect_timeout, Span::seconds(90));
    assert!(config.limits.queue_qos0);
    assert_eq!(config.auth.allow_anonymous, Some(false));
    assert_eq!(config.sys.node, "42");
    assert_eq!(config.admin.bind, "none");
    assert_eq!(config.data_dir, PathBuf::from("relative"));
    assert_eq!(config.auth.acl_file, None);
}

#[test]
fn listen_replaces_the_listeners_of_the_file() {
    let folder = Folder::new(
        "[[listeners]]\nname = \"a\"\nurl = \"tcp://127.0.0.1:1\"\nmax_connections = 3\n\n\
         [[listeners]]\nname = \"b\"\nurl = \"tcp://127.0.0.1:2\"\n",
    );
    let listen = ["tcp://127.0.0.1:0", "tcp://127.0.0.1:0", "ws://[::1]:1/x"].map(String::from).to_vec();
    let config = folder.source(&[], Flags { listen, ..Flags::default() }).load().unwrap();
    let doors: Vec<_> = config.listeners.iter().map(|it| (it.name.as_str(), it.url.as_str(), it.max_connections)).collect();
    assert_eq!(doors, [("tcp", "tcp://127.0.0.1:0", 0), ("tcp-2", "tcp://127.0.0.1:0", 0), ("websocket", "ws://[::1]:1/x", 0)]);
}

#[test]
fn paths_in_the_file_are_taken_from_its_folder() {
    let folder = Folder::new("data_dir = \"d\"\n[auth]\npassword_file = \"users\"\nacl_file = \"/dev/null\"\n");
    fs::write(folder.path().join("users"), "").unwrap();
    let config = folder.source(&[], Flags::default()).load().unwrap();
    assert_eq!(config.data_dir, folder.path().join("d"));
    assert_eq!(config.auth.password_file, Some(folder.path().join("users")));
    assert_eq!(config.auth.acl_file, Some("/dev/null".into()));
}

#[test]
fn who_set_a_key_is_known() {
    let source = Folder::new("[sys]\nnode = \"a\"\n").source(&[("DUNLIN__LOG__LEVEL", "info")], Flags::default());
    assert!(!source.sets("admin.bind"));
    assert!(source.sets("log.level"));
}

#[test]
fn an_unknown_key_is_told_with_its_line_and_the_nearest_right_one() {
    assert_eq!(
        errors("# a\n[limits]\nmax_inflight = 3\nmax_packet_sizes = \"1MiB\"\n"),
        ["dunlin.toml:4: limits.max_packet_sizes: unknown key; did you mean \"max_packet_size\"?"]
    );
    assert_eq!(
        errors("[limit]\nmax-inflight = 3\n"),
        ["dunlin.toml:1: limit: unknown key or section; did you mean \"limits\"?"]
    );
    assert_eq!(
        errors("max_packet_size = 3\n"),
        ["dunlin.toml:1: max_packet_size: unknown key or section; did you mean limits.max_packet_size?"]
    );
    assert_eq!(errors("[log]\nxyzzy = 3\n"), ["dunlin.toml:2: log.xyzzy: unknown key"]);
}

#[test]
fn a_wrong_type_is_told_with_what_is_expected() {
    let text = "data_dir = 3\n[limits]\nmax_inflight = \"many\"\nreceive_maximum = 70000\nqueue_qos0 = 1\nmax_connections = -1\n\
                max_packet_size = \"64 potatoes\"\nconnect_timeout = 1.5\nqueue_policy = \"drop_oldest\"\nmax_queued_bytes = []\n\
                max_subscriptions = 99999999999999999999\n";
    assert_eq!(
        errors(text),
        [
            "dunlin.toml:1: data_dir: found the number 3, expected a path in quotes",
            "dunlin.toml:3: limits.max_inflight: found the text \"many\", expected a whole number from 0 to 65535",
            "dunlin.toml:4: limits.receive_maximum: found the number 70000, expected a whole number from 0 to 65535",
            "dunlin.toml:5: limits.queue_qos0: found the number 1, expected true or false",
            "dunlin.toml:6: limits.max_connections: found the number -1, expected a whole number from 0 on",
            "dunlin.toml:7: limits.max_packet_size: \"64 potatoes\" is no size; write it like \"64KiB\" or \"1MiB\"",
            "dunlin.toml:8: limits.connect_timeout: found the number 1.5, expected a duration like \"30s\" or \"5m\", or a number \
             of seconds",
            "dunlin.toml:9: limits.queue_policy: found \"drop_oldest\", expected \"drop-new\" or \"drop-oldest\"; did you mean \
             \"drop-oldest\"?",
            "dunlin.toml:10: limits.max_queued_bytes: found an array, expected a size like \"64KiB\" or \"1MiB\", or a number of bytes",
            "dunlin.toml:11: limits.max_subscriptions: the number is too large",
        ]
    );
}

#[test]
fn tables_in_wrong_places_are_told() {
    assert_eq!(
        errors("limits = 3\nlisteners = \"tcp://127.0.0.1\"\n"),
        [
            "dunlin.toml:1: limits: found a number, expected a table",
            "dunlin.toml:2: listeners: found a text, expected [[listeners]]"
        ]
    );
    assert_eq!(
        errors("[listeners]\nname = \"a\"\n"),
        ["dunlin.toml:1: listeners: there may be several: write [[listeners]] with two brackets"]
    );
    assert_eq!(errors("listeners = []\n"), ["dunlin.toml:1: listeners: there must be at least one listener"]);
}

#[test]
fn broken_toml_is_told_with_its_line() {
    let errors = errors("[limits]\nmax_inflight = \n[log\n");
    assert!(errors[0].starts_with("dunlin.toml:2: this is no TOML: "), "{errors:?}");
    assert!(errors[1].starts_with("dunlin.toml:3: this is no TOML: "), "{errors:?}");
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let source = ConfigSource::new(Some("/nowhere/dunlin.toml".into()), Flags::default()).with_environment(&[]);
    let error = source.load().unwrap_err().to_string();
    assert_eq!(error, "/nowhere/dunlin.toml: cannot read the config file: No such file or directory (os error 2)");
}

#[test]
fn wrong_variables_are_told_by_their_names() {
    let variables = [
        ("DUNLIN__LIMITS__MAX_PACKET_SIZ", "1"),
        ("DUNLIN__LIMITS__MAX_INFLIGHT", "x"),
        ("DUNLIN__LIMITS", "x"),
        ("DUNLIN__LISTENERS__0__URL", "x"),
        ("DUNLIN__LIMITS__RECEIVE_MAXIMUM", "0"),
    ];
    let errors = without_file(&variables, Flags::default()).load().unwrap_err().to_string();
    assert_eq!(
        errors.lines().collect::<Vec<_>>(),
        [
            "DUNLIN__LIMITS: limits: this is a section; name a key in it, DUNLIN__SECTION__KEY",
            "DUNLIN__LIMITS__MAX_INFLIGHT: limits.max_inflight: found the text \"x\", expected a whole number from 0 to 65535",
            "DUNLIN__LIMITS__MAX_PACKET_SIZ: limits.max_packet_siz: unknown key; did you mean DUNLIN__LIMITS__MAX_PACKET_SIZE?",
            "DUNLIN__LIMITS__RECEIVE_MAXIMUM: limits.receive_maximum: must not be 0",
            "DUNLIN__LISTENERS__0__URL: listeners.0.url: listeners are set in the config file, or with --listen",
        ]
    );
}

#[test]
fn a_variable_that_makes_a_table_is_told_where_something_else_is_missing_in_it() {
    let variables = [("DUNLIN__AUTH__HTTP__TIMEOUT", "1s")];
    let told = "DUNLIN__AUTH__HTTP__TIMEOUT: auth.http: needs authenticate_url, authorize_url or both";
    assert_eq!(without_file(&variables, Flags::default()).load().unwrap_err().to_string(), told);
    assert_eq!(Folder::new("[auth]\nallow_anonymous = true\n").errors(&variables, Flags::default()), [told]);
}

#[test]
fn wrong_flags_are_told_by_their_names() {
    let flags = Flags {
        listen: vec!["mqtt://a".into(), "tls://127.0.0.1".into()],
        admin: Some("http://a".into()),
        log_level: Some("inof".into()),
        ..Flags::default()
    };
    let errors = without_file(&[], flags).load().unwrap_err().to_string();
    assert_eq!(
        errors.lines().collect::<Vec<_>>(),
        [
            "--admin: admin.bind: takes no scheme; write it like \"127.0.0.1:18083\", or \"none\"",
            "--listen: listeners[0].url: the scheme \"mqtt\" is none of tcp, tls, ws, wss, unix; did you mean tcp?",
            "--listen: listeners[1].url: tls:// needs [listeners.tls] with certificate and key in the config file",
            "--log-level: log.level: \"inof\" is none of off, error, warn, info, debug, trace, or part=level; did you mean \"info\"?",
        ]
    );
}

#[test]
fn everything_wrong_is_told_at_once_in_the_order_of_the_file() {
    let text = r#"[auth]
passwd_file = "a"
acl_file = "missing"
[limits]
max_inflight = 0
max_topic_levels = "x"
max_client_id_length = 22
[[listeners]]
name = "a"
url = "tcp://127.0.0.1:1"
[[listeners]]
url = "tcp://127.0.0.1:2"
[[listeners]]
name = "a"
url = "ws://127.0.0.1:1/x"
version = ["5"]
mount_point = "+"
[listeners.tls]
certificate = "missing.pem"
[[listeners]]
name = "b"
url = 5
tls = 5
"#;
    assert_eq!(
        Folder::new(text).errors(&[("DUNLIN__ADMIN__BINDS", "x")], Flags { log_level: Some("".into()), ..Flags::default() }),
        [
            "dunlin.toml:2: auth.passwd_file: unknown key; did you mean \"password_file\"?",
            "dunlin.toml:3: auth.acl_file: cannot read missing: No such file or directory (os error 2)",
            "dunlin.toml:5: limits.max_inflight: must not be 0",
            "dunlin.toml:6: limits.max_topic_levels: found the text \"x\", expected a whole number from 0 on",
            "dunlin.toml:7: limits.max_client_id_length: must be at least 23: the specification lets every client have that much",
            "dunlin.toml:11: listeners[1]: the key \"name\" is missing",
            "dunlin.toml:14: listeners[2].name: another listener is called \"a\" too",
            "dunlin.toml:15: listeners[2].url: listener \"a\" is at this address too",
            "dunlin.toml:16: listeners[2].version: unknown key; did you mean \"versions\"?",
            "dunlin.toml:17: listeners[2].mount_point: must not contain + # or a zero character",
            "dunlin.toml:18: listeners[2].tls: the key \"key\" is missing",
            "dunlin.toml:22: listeners[3].url: found the number 5, expected a text in quotes",
            "dunlin.toml:23: listeners[3].tls: found a number, expected a table",
            "DUNLIN__ADMIN__BINDS: admin.binds: unknown key; did you mean DUNLIN__ADMIN__BIND?",
            "--log-level: log.level: \"\" is none of off, error, warn, info, debug, trace, or part=level",
        ]
    );
}

#[test]
fn listeners_that_cannot_be_are_told() {
    let text = r#"[[listeners]]
name = "a"
url = "tcp://127.0.0.1:1"
allowed_origins = ["https://a"]
mount_point = "a/#"
[[listeners]]
name = "a"
url = "ws://127.0.0.1:1/x"
versions = ["5"]
max_packet_size = 0
max_keep_alive = "500ms"
[listeners.tls]
certificate = "missing.pem"
key = "/"
min_version = "1.1"
client_certificates = "required"
[[listeners]]
name = ""
url = "tls://0.0.0.0"
versions = []
[[listeners]]
name = "b"
url = "tls://0.0.0.0:9"
tls = { certificate = "/dev/null", key = "/dev/null", identity = "san", crl = ["/dev/null"], more = [{ certificate = "/no", key = "/dev/null" }] }
"#;
    assert_eq!(
        errors(text),
        [
            "dunlin.toml:4: listeners[0].allowed_origins: only ws:// and wss:// listeners have origins",
            "dunlin.toml:5: listeners[0].mount_point: must not contain + # or a zero character",
            "dunlin.toml:7: listeners[1].name: another listener is called \"a\" too",
            "dunlin.toml:8: listeners[1].url: listener \"a\" is at this address too",
            "dunlin.toml:9: listeners[1].versions: \"5\" is none of \"3.1\", \"3.1.1\", \"5.0\"",
            "dunlin.toml:10: listeners[1].max_packet_size: must not be 0",
            "dunlin.toml:11: listeners[1].max_keep_alive: must be at least 1s, or \"0s\" for no bound",
            "dunlin.toml:12: listeners[1].tls: ws:// has no TLS; did you mean wss://?",
            "dunlin.toml:13: listeners[1].tls.certificate: cannot read missing.pem: No such file or directory (os error 2)",
            "dunlin.toml:14: listeners[1].tls.key: cannot read /: is a directory",
            "dunlin.toml:15: listeners[1].tls.min_version: \"1.1\" is neither \"1.2\" nor \"1.3\"",
            "dunlin.toml:16: listeners[1].tls.client_certificates: needs client_ca, the authorities that sign the clients' certificates",
            "dunlin.toml:18: listeners[2].name: must not be empty",
            "dunlin.toml:19: listeners[2].url: tls:// needs [listeners.tls] with certificate and key in the config file",
            "dunlin.toml:20: listeners[2].versions: must name at least one of \"3.1\", \"3.1.1\", \"5.0\"",
            "dunlin.toml:24: listeners[3].tls.crl: needs client_certificates = \"required\" or \"optional\"",
            "dunlin.toml:24: listeners[3].tls.identity: needs client_certificates = \"required\" or \"optional\"",
            "dunlin.toml:24: listeners[3].tls.more[0].certificate: cannot read /no: No such file or directory (os error 2)",
        ]
    );
}

#[test]
fn limits_that_let_nothing_through_are_refused() {
    let all = Table::try_from(Config::default()).unwrap();
    let may_be_zero = [
        "client_message_rate",
        "client_byte_rate",
        "user_message_rate",
        "user_byte_rate",
        "address_message_rate",
        "address_byte_rate",
        "address_connection_rate",
        "user_connections",
        "user_sessions",
        "user_subscriptions",
        "user_retained_messages",
        "user_queued_bytes",
        "user_queues",
        "user_delayed_messages",
        "tenant_connections",
        "tenant_sessions",
        "tenant_subscriptions",
        "tenant_retained_messages",
        "tenant_queued_bytes",
        "tenant_queues",
        "tenant_delayed_messages",
        "login_failures",
        "reconnects",
        "takeovers",
        "memory_max",
        "recover_by",
        "big_publish",
        "max_delay",
        "max_connections_per_address",
        "max_retained_messages",
        "max_retained_bytes",
        "topic_alias_maximum",
        "max_topic_aliases_out",
        "max_keep_alive",
        "max_session_expiry",
        "max_user_properties",
        "max_bans",
    ];
    for section in ["limits", "rates", "quotas", "protection", "overload"] {
        for (key, value) in all[section].as_table().unwrap() {
            let is_number =
                value.is_integer() || value.as_str().is_some_and(|text| text.starts_with(|c: char| c.is_ascii_digit()));
            if is_number {
                let folder = Folder::new(&format!("[{section}]\n{key} = 0\n"));
                let is_refused = folder.source(&[], Flags::default()).load().is_err();
                assert_eq!(is_refused, !may_be_zero.contains(&key.as_str()), "{section}.{key} = 0");
            }
        }
    }
}

#[test]
fn more_threads_than_any_machine_runs_are_refused() {
    let told = "dunlin.toml:2: auth.max_password_checks: must be at most 1024: each is a thread";
    assert_eq!(errors("[auth]\nmax_password_checks = 3000000000000000000\n"), [told]);
    load("[auth]\nmax_password_checks = 1024\nmax_waiting_password_checks = 9223372036854775807\n");
}

#[test]
fn limits_that_the_protocol_cannot_say_are_refused() {
    for line in [
        "max_packet_size = 268435461",
        "max_topic_length = 65536",
        "max_client_id_length = 65536",
        "max_keep_alive = \"65536s\"",
        "max_keep_alive = \"999ms\"",
        "max_session_expiry = 4294967295",
        "max_session_expiry = \"1ms\"",
    ] {
        let errors = errors(&format!("[limits]\n{line}\n"));
        assert_eq!(errors.len(), 1, "{line}: {errors:?}");
    }
    load("[limits]\nmax_packet_size = 268435460\nmax_keep_alive = 65535\nmax_session_expiry = 4294967294\n");
}

#[test]
fn log_directives_for_parts_are_taken_and_typos_are_not() {
    for level in ["info", "DEBUG", "info,dunlin::session=debug", "dunlin=trace", "off"] {
        load(&format!("[log]\nlevel = \"{level}\"\n"));
    }
    for level in ["inof", "info,dunlin", "dunlin=loud"] {
        assert_eq!(errors(&format!("[log]\nlevel = \"{level}\"\n")).len(), 1, "{level}");
    }
}

#[test]
fn a_listener_where_nobody_can_log_in_is_warned_of() {
    let door = "[[listeners]]\nname = \"a\"\nurl = \"tcp://0.0.0.0:1\"\n";
    let warnings = load(door).warnings();
    assert_eq!(warnings.len(), 1);
    assert_eq!(
        warnings[0].to_string(),
        "listeners[0]: nobody can log in at tcp://0.0.0.0:1: there is no password file, and anonymous clients are not let in; set \
         [auth] password_file, or allow_anonymous = true"
    );
    for more in ["allow_anonymous = true", "password_file = \"/dev/null\"", "[auth]\nallow_anonymous = true"] {
        assert_eq!(load(&format!("{door}{more}\n")).warnings(), [], "{more}");
    }
    let proxied = "[[listeners]]\nname = \"a\"\nurl = \"tcp://127.0.0.1:1\"\nproxy_protocol = true\n";
    assert_eq!(load(proxied).warnings().len(), 1);
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

/// The text with the `#` taken away in front of keys and tables that are not set by default.
fn uncommented(text: &str) -> String {
    let is_toml = |line: &str| {
        line.starts_with('[')
            || line
                .split_once(" = ")
                .is_some_and(|(key, _)| key.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')))
    };
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if is_toml(rest) => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Keys of the model that the document does not have, in any of its tables of that name.
fn missing(model: &Table, documents: &[&Table], path: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (key, value) in model {
        let found: Vec<&Value> = documents.iter().filter_map(|table| table.get(key)).collect();
        if found.is_empty() {
            all.push(format!("{path}{key}"));
        }
        if let Some(model) = tables(value).first() {
            let documents: Vec<&Table> = found.into_iter().flat_map(tables).collect();
            all.extend(missing(model, &documents, &format!("{path}{key}.")));
        }
    }
    all
}

fn tables(value: &Value) -> Vec<&Table> {
    match value {
        Value::Table(table) => vec![table],
        Value::Array(items) => items.iter().filter_map(Value::as_table).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_shipped_dunlin_toml_is_the_default() {
    let config = ConfigSource::new(Some(shipped("dunlin.toml")), Flags::default()).with_environment(&[]).load().unwrap();
    assert_eq!(config, Config::default());
}

#[test]
fn the_shipped_dunlin_toml_has_every_key() {
    let text = uncommented(&fs::read_to_string(shipped("dunlin.toml")).unwrap());
    let schema = Schema::new();
    let layer = document::parse(Path::new("dunlin.toml"), &text, &schema);
    assert_eq!(layer.errors, []);
    assert_eq!(missing(schema.root(), &[&layer.values], ""), Vec::<String>::new());

    // A key that is set by default stands there as set.
    let set: Table = toml::from_str(&fs::read_to_string(shipped("dunlin.toml")).unwrap()).unwrap();
    let mut default = Table::try_from(Config::default()).unwrap();
    default.remove("data_dir");
    default.remove("queues"); // there are none
    assert_eq!(missing(&default, &[&set], ""), Vec::<String>::new());
}

#[test]
fn the_shipped_dunlin_toml_explains_every_key() {
    let text = fs::read_to_string(shipped("dunlin.toml")).unwrap();
    let plain = uncommented(&text);
    for (index, line) in plain.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && line.contains(" = ")) {
        let above = plain.lines().nth(index - 1).unwrap();
        assert!(above.starts_with("# "), "line {}: {line}", index + 1);
    }
}

#[test]
fn the_shipped_minimal_toml_loads_without_a_warning() {
    let config = ConfigSource::new(Some(shipped("minimal.toml")), Flags::default()).with_environment(&[]).load().unwrap();
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.warnings(), []);
}

#[test]
fn the_shipped_bridge_toml_loads_without_a_warning() {
    let config = ConfigSource::new(Some(shipped("bridge.toml")), Flags::default()).with_environment(&[]).load().unwrap();
    assert_eq!(config.bridges[0].topics.len(), 2);
    assert_eq!(config.warnings(), []);
}

#[test]
fn what_is_wrong_with_a_bridge_is_told_with_its_line() {
    let text = r#"[[bridges]]
name = "a"
urls = ["http://x"]
version = "4"
password = "p"
max_inflight = 0
reconnect_min = "5m"
[[bridges.topics]]
filter = "a/#/b"
[[bridges]]
name = "a"
urls = ["tcp://x"]
topics = []
[bridges.tls]
certificate = "missing.pem"
[[bridges]]
name = "b/c"
urls = ["tcp://x"]
topics = []
"#;
    let folder = Folder::new(text);
    let errors = folder.source(&[], Flags::default()).load().unwrap_err().to_string();
    for expected in [
        "toml:3: bridges[0].urls: \"http://x\" is none of",
        "toml:4: bridges[0].version",
        "bridges[0].username: a password needs a user name",
        "toml:6: bridges[0].max_inflight: must not be 0",
        "bridges[0].reconnect_max: must not be below reconnect_min",
        "toml:8: bridges[0].topics[0]: \"a/#/b\" is no topic filter",
        "toml:11: bridges[1].name: another bridge is called \"a\" too",
        "bridges[1].topics: there must be at least one topic",
        "bridges[1].tls: no URL is tls://",
        "bridges[1].tls.certificate: cannot read",
        "bridges[2].name: must not be empty, nor contain",
    ] {
        assert!(errors.contains(expected), "{expected:?} is not in\n{errors}");
    }
}

#[test]
fn the_shipped_production_toml_loads_without_a_warning_once_its_files_are_there() {
    let text = fs::read_to_string(shipped("production.toml")).unwrap();
    let folder = Folder::new(&text.replace("\"/etc/dunlin/", "\""));
    for name in ["users", "acl", "server.pem", "server-key.pem", "devices-ca.pem"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let config = folder.source(&[], Flags::default()).load().unwrap();
    assert_eq!(config.listeners.len(), 3);
    assert_eq!(config.warnings(), []);
}
