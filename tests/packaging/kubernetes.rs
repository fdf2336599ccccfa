use std::process::Command;

use serde_json::Value;

use crate::support::Broker;
use crate::support::client::{Client, V5, connect};
use crate::tools::{dunlin, installed, run, shipped};

/// The documents of the manifest, read by the YAML library that the linter brings.
fn documents() -> Vec<Value> {
    const TO_JSON: &str = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let json = run(Command::new(installed("linters/bin/python")).args(["-c", TO_JSON]).arg(shipped("kubernetes.yaml")), 0);
    serde_json::from_str(&json).unwrap()
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}

#[test]
fn the_manifest_passes_its_linter() {
    run(Command::new(installed("linters/bin/kubernetes-validate")).arg("--strict").arg(shipped("kubernetes.yaml")), 0);
}

#[test]
fn ports_paths_and_probes_fit_the_config_in_it() {
    let documents = documents();
    let config: toml::Table = of_kind(&documents, "ConfigMap")[0]["data"]["dunlin.toml"].as_str().unwrap().parse().unwrap();
    let set = of_kind(&documents, "StatefulSet")[0];
    let pod = &set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];

    let port = |name: &str| {
        let ports = container["ports"].as_array().unwrap();
        ports.iter().find(|port| port["name"] == name).unwrap_or_else(|| panic!("no port {name}"))["containerPort"]
            .as_u64()
            .unwrap()
    };
    let urls =
        [config["listeners"][0]["url"].as_str(), config["listeners"][1]["url"].as_str(), config["admin"]["bind"].as_str()];
    for (url, name) in urls.into_iter().zip(["mqtt", "websocket", "admin"]) {
        assert!(url.unwrap().contains(&format!("0.0.0.0:{}", port(name))), "{url:?} {name}");
    }
    for service in of_kind(&documents, "Service") {
        assert_eq!(service["spec"]["selector"], set["spec"]["selector"]["matchLabels"]);
        for exposed in service["spec"]["ports"].as_array().unwrap() {
            assert_eq!(exposed["port"].as_u64(), Some(port(exposed["targetPort"].as_str().unwrap())));
        }
    }
    for (probe, path) in [("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")] {
        assert_eq!(
            (&container[probe]["httpGet"]["path"], &container[probe]["httpGet"]["port"]),
            (&path.into(), &"admin".into())
        );
    }

    let mounts: Vec<&str> =
        container["volumeMounts"].as_array().unwrap().iter().map(|mount| mount["mountPath"].as_str().unwrap()).collect();
    assert!(mounts.contains(&config["data_dir"].as_str().unwrap()), "the data lies on a volume");
    let users = config["auth"]["password_file"].as_str().unwrap();
    assert!(mounts.iter().any(|mount| users.starts_with(mount)) && mounts.contains(&"/etc/dunlin"));
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(set["spec"]["replicas"], 1);
    let image = container["image"].as_str().unwrap();
    assert_eq!(image, concat!("dunlin:", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_config_in_it_lets_in_the_users_of_the_secret_and_nobody_else() {
    let documents = documents();
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users").display().to_string();
    let passwords = folder.path().join("password");
    std::fs::write(&passwords, "secret\n").unwrap();
    run(dunlin().args(["passwd", &users, "ada", "--stdin"]).stdin(std::fs::File::open(passwords).unwrap()), 0);
    let config = of_kind(&documents, "ConfigMap")[0]["data"]["dunlin.toml"].as_str().unwrap();
    let config = config
        .replace("/etc/dunlin-auth/users", &users)
        .replace("0.0.0.0:1883", "127.0.0.1:0")
        .replace("0.0.0.0:8083", "127.0.0.1:0");
    let broker = Broker::with_config_in(folder, &config);
    assert_eq!(Client::refused(broker.address(), connect(V5)), 0x87);
    let mut ada = connect(V5);
    ada.username = Some("ada");
    ada.password = Some(b"secret");
    Client::connect_with(broker.address(), ada).0.ping();
}
