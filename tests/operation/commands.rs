use crate::process::{command, dunlin, folder, outcome, write};

#[test]
fn version_and_help_are_told() {
    let folder = folder();
    for arguments in [["version"], ["--version"]] {
        let (code, told, _) = outcome(&dunlin(folder.path(), &arguments));
        assert_eq!((code, told.as_str()), (0, concat!("dunlin ", env!("CARGO_PKG_VERSION"), "\n")));
    }
    let (code, told, _) = outcome(&dunlin(folder.path(), &["--help"]));
    assert_eq!(code, 0);
    for word in ["passwd", "certs", "check", "config", "bench", "--listen", "DUNLIN__SECTION__KEY", "127.0.0.1:1883"] {
        assert!(told.contains(word), "{word} is not in:\n{told}");
    }
    for subcommand in ["run", "check", "config", "passwd", "certs", "bench"] {
        assert_eq!(outcome(&dunlin(folder.path(), &[subcommand, "--help"])).0, 0, "{subcommand}");
    }
}

#[test]
fn check_says_ok_or_what_is_odd() {
    let folder = folder();
    let good = write(folder.path(), "good.toml", "[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n");
    assert_eq!(outcome(&dunlin(folder.path(), &["check", "--config", &good])), (0, "ok\n".into(), String::new()));
    let odd = write(folder.path(), "odd.toml", "[[listeners]]\nname = \"tcp\"\nurl = \"tcp://0.0.0.0:0\"\n");
    let (code, told, warned) = outcome(&dunlin(folder.path(), &["check", "--config", &odd]));
    assert_eq!((code, told.as_str()), (0, "ok\n"));
    assert!(warned.contains("warning") && warned.contains("nobody can log in"), "{warned}");
    assert!(!folder.path().join("data").exists(), "nothing is made");
}

/// `check` reads what the broker would: it must not call good what ends the start.
#[test]
fn check_looks_into_the_files_that_the_config_names() {
    let folder = folder();
    write(folder.path(), "users", "alice\n");
    write(folder.path(), "acl", "topics #\n");
    write(folder.path(), "empty.pem", "");
    for (more, named) in [
        ("[auth]\npassword_file = \"users\"", "users:1"),
        ("[auth]\nacl_file = \"acl\"", "acl:1"),
        (
            "[[listeners]]\nname = \"tls\"\nurl = \"tls://127.0.0.1:0\"\n[listeners.tls]\ncertificate = \"empty.pem\"\nkey = \"empty.pem\"",
            "empty.pem",
        ),
    ] {
        let config = write(
            folder.path(),
            "dunlin.toml",
            &format!("{more}\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n"),
        );
        let (code, _, told) = outcome(&dunlin(folder.path(), &["check", "--config", &config]));
        assert_eq!(code, 78, "{more}: {told}");
        assert!(told.contains(named), "{named} is not in {told}");
    }
}

#[test]
fn config_print_shows_what_is_in_force_and_can_be_read_again() {
    let folder = folder();
    let file =
        write(folder.path(), "dunlin.toml", "[limits]\nmax_inflight = 11\nmax_subscriptions = 12\nmax_topic_levels = 13\n");
    let printed = command(folder.path(), &["config", "print", "--config", &file, "--log-level", "debug"])
        .env("DUNLIN__LIMITS__MAX_SUBSCRIPTIONS", "22")
        .output()
        .unwrap();
    let (code, text, told) = outcome(&printed);
    assert_eq!(code, 0, "{told}");
    for line in [
        "max_inflight = 11",
        "max_subscriptions = 22",
        "max_topic_levels = 13",
        "level = \"debug\"",
        "connect_timeout = \"10s\"",
    ] {
        assert!(text.lines().any(|there| there == line), "{line} is not in:\n{text}");
    }
    let again = write(folder.path(), "again.toml", &text);
    let (code, same, told) = outcome(&dunlin(folder.path(), &["config", "print", "--config", &again]));
    assert_eq!(code, 0, "{told}");
    // A path that is not set is taken from where the broker starts, one in a file from its folder.
    let beyond_paths = |text: &str| text.lines().filter(|line| !line.starts_with("data_dir")).collect::<Vec<_>>().join("\n");
    assert_eq!(beyond_paths(&same), beyond_paths(&text));
}

#[test]
fn a_wrong_environment_variable_is_named() {
    let folder = folder();
    let output = command(folder.path(), &["check"]).env("DUNLIN__LIMITS__MAX_INFLGHT", "3").output().unwrap();
    let (code, _, told) = outcome(&output);
    assert_eq!(code, 78);
    assert!(told.contains("DUNLIN__LIMITS__MAX_INFLGHT") && told.contains("DUNLIN__LIMITS__MAX_INFLIGHT"), "{told}");
}

#[test]
fn passwd_refuses_what_could_not_be_read_back() {
    let folder = folder();
    for user in ["", "a:b", "#a", "a\nb"] {
        let (code, _, told) = outcome(&dunlin(folder.path(), &["passwd", "users", user, "--stdin"]));
        assert_eq!(code, 1, "{user:?}: {told}");
    }
    assert!(!folder.path().join("users").exists());
}
