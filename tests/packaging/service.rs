use std::process::Command;

use crate::tools::{dunlin, read, root, run, shipped};

/// The unit, with the binary of this build in place of the installed one, and a user that is there.
fn unit() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dunlin.service");
    let text = read(&shipped("dunlin.service")).replace("/usr/bin/dunlin", env!("CARGO_BIN_EXE_dunlin"));
    std::fs::write(&path, text.replace("=dunlin\n", "=daemon\n")).unwrap();
    (folder, path.display().to_string())
}

#[test]
fn systemd_understands_every_line_of_the_unit() {
    let (_folder, unit) = unit();
    assert_eq!(run(Command::new("systemd-analyze").args(["verify", &unit]), 0), "");
}

#[test]
fn systemd_finds_little_that_the_service_could_harm() {
    let (_folder, unit) = unit();
    // Of 100, which is everything; the command fails over the threshold.
    run(Command::new("systemd-analyze").args(["security", "--offline=yes", "--no-pager", "--threshold=20", &unit]), 0);
}

#[test]
fn the_unit_fits_the_broker() {
    let unit = read(&shipped("dunlin.service"));
    let value = |key: &str| {
        unit.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).unwrap_or_else(|| panic!("no {key}")).to_owned()
    };
    assert_eq!(value("Type"), "notify");
    assert_eq!(value("ExecStart"), "/usr/bin/dunlin --config /etc/dunlin/dunlin.toml");
    assert_eq!(value("RestartPreventExitStatus"), dunlin::cli::exit::CONFIG.to_string());
    let descriptors: usize = value("LimitNOFILE").parse().unwrap();
    assert!(descriptors > 2 * dunlin::config::Config::default().limits.max_connections);
    // StateDirectory is below /var/lib.
    let package: toml::Table = read(&shipped("debian/dunlin.toml")).parse().unwrap();
    assert_eq!(package["data_dir"].as_str().unwrap(), format!("/var/lib/{}", value("StateDirectory")));
}

#[test]
fn the_config_of_the_package_is_right_and_serves_this_machine_alone() {
    let config = shipped("debian/dunlin.toml");
    assert_eq!(run(dunlin().args(["check", "--config"]).arg(&config), 0), "ok\n");
    let config: toml::Table = read(&config).parse().unwrap();
    for listener in config["listeners"].as_array().unwrap() {
        assert!(listener["url"].as_str().unwrap().contains("127.0.0.1"));
    }
}

#[test]
fn what_the_package_takes_in_is_there() {
    let manifest: toml::Table = read(&root().join("Cargo.toml")).parse().unwrap();
    let deb = &manifest["package"]["metadata"]["deb"];
    let assets = deb["assets"].as_array().unwrap();
    let sources: Vec<&str> = assets.iter().map(|asset| asset[0].as_str().unwrap()).collect();
    for source in sources.iter().filter(|source| !source.starts_with("target/")) {
        assert!(root().join(source).is_file(), "{source}");
    }
    for conffile in deb["conf-files"].as_array().unwrap() {
        let name = conffile.as_str().unwrap().trim_start_matches('/');
        assert!(assets.iter().any(|asset| asset[1].as_str() == Some(name)), "{name}");
    }
    for script in ["postinst", "prerm", "postrm"] {
        run(Command::new("sh").arg("-n").arg(shipped("debian").join(script)), 0);
        assert!(read(&shipped("debian").join(script)).contains("#DEBHELPER#"), "{script}");
    }
}
