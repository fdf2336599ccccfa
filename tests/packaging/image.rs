use std::net::SocketAddr;
use std::process::Command;

use crate::support::Broker;
use crate::support::client::{Client, V5, connect};
use crate::tools::{installed, read, root, run, shipped};

/// The line that builds what is shipped: the image, and the package that CI makes and installs.
const BUILD: &str = "cargo build --locked --release --target \"$(uname -m)-unknown-linux-musl\"";

#[test]
fn the_dockerfile_passes_its_linter() {
    let told = run(Command::new(installed("linters/bin/hadolint")).arg(shipped("Dockerfile")), 0);
    assert_eq!(told, "");
}

#[test]
fn the_image_is_built_as_ci_builds() {
    let dockerfile = read(&shipped("Dockerfile"));
    assert!(dockerfile.lines().any(|line| line == format!("RUN {BUILD}")));
    assert!(read(&root().join(".ci/package")).lines().any(|line| line == BUILD));
    let oldest = read(&root().join("Cargo.toml"));
    let oldest = oldest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    assert!(
        dockerfile.contains(&format!("FROM rust:{oldest}-")),
        "the image is built with the toolchain that Cargo.toml asks for"
    );
}

/// Its ports, folders and commands are those of the config that is put into it.
#[test]
fn the_image_fits_its_config() {
    let dockerfile = read(&shipped("Dockerfile"));
    let config: toml::Table = read(&shipped("container.toml")).parse().unwrap();
    let mut urls: Vec<&str> =
        config["listeners"].as_array().unwrap().iter().map(|door| door["url"].as_str().unwrap()).collect();
    urls.push(config["admin"]["bind"].as_str().unwrap());
    let port = |url: &str| url.rsplit_once(':').unwrap().1.trim_end_matches("/mqtt").to_owned();
    let ports: Vec<String> = urls.into_iter().map(port).collect();
    assert!(dockerfile.contains(&format!("EXPOSE {}\n", ports.join(" "))), "{ports:?}");
    let data_dir = config["data_dir"].as_str().unwrap();
    assert!(dockerfile.contains(&format!("VOLUME {data_dir}\n")) && dockerfile.contains(&format!("/image{data_dir}")));
    assert!(dockerfile.contains("USER 65532:65532") && dockerfile.contains("--owner=65532"));
    assert!(dockerfile.contains("/image/etc/ssl/certs/ca-certificates.crt"), "nobody is trusted over https");
}

/// As the image starts it: with the config, and the rest by the environment. The doors are open to the network, which decides about
/// anonymous clients; the ports are any.
#[test]
fn the_config_of_the_image_serves_whom_the_environment_lets_in() {
    let text = read(&shipped("container.toml")).replace("0.0.0.0:1883", "0.0.0.0:0").replace("0.0.0.0:8083", "0.0.0.0:0");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dunlin.toml");
    std::fs::write(&path, text).unwrap();
    let arguments = ["--config", &path.display().to_string()];
    let door = |broker: &Broker| SocketAddr::from(([127, 0, 0, 1], broker.address().port()));
    let closed = Broker::with_args(&arguments);
    assert_eq!(Client::refused(door(&closed), connect(V5)), 0x87);
    let open = Broker::with_command(&arguments, |command| {
        command.env("DUNLIN__AUTH__ALLOW_ANONYMOUS", "true");
    });
    Client::connect(door(&open), V5, "a").ping();
}
