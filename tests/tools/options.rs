//! What our tools do by themselves.

use crate::support::{Broker, eventually};
use crate::tool::{Whose, next};

#[test]
fn a_session_is_kept_and_taken_up() {
    let broker = Broker::start();
    let keeper = ["-c", "-i", "keeper", "-t", "k", "-q", "2", "-V", "mqttv5"];
    let run = |more: &[&str]| Whose::Ours.run("sub", broker.address(), &[&keeper[..], more].concat(), b"");
    assert_eq!(run(&["-E"]).0, Some(0));
    for qos in ["1", "2"] {
        Whose::Ours.publish(&broker, &["-t", "k", "-q", qos, "-m", qos]);
    }
    let (code, output, _) = run(&["-C", "2", "-F", "%p %q"]);
    assert_eq!((code, output.as_str()), (Some(0), "1 1\n2 2\n"));
    let (code, ..) = Whose::Ours.run("sub", broker.address(), &["-c", "-t", "k"], b"");
    assert_eq!(code, Some(2), "a session needs a client identifier");
}

#[test]
fn a_broker_that_goes_and_comes_back_is_connected_to_again() {
    let mut broker = Broker::start();
    let port = broker.address().to_string();
    let mut subscriber = Whose::Ours.subscribe(&broker, &["-t", "a", "-q", "1", "-i", "s", "-F", "%p"]);
    let lines = subscriber.lines();
    Whose::Ours.publish(&broker, &["-t", "a", "-q", "1", "-m", "before"]);
    assert_eq!(next(&lines), "before");
    broker.signal("-TERM");
    broker.wait();
    drop(broker);
    let broker = Broker::with_args(&["--listen", &format!("tcp://{port}")]);
    eventually("it subscribes again", || broker.metric("dunlin_subscriptions") > 0.0);
    Whose::Ours.publish(&broker, &["-t", "a", "-q", "1", "-m", "after"]);
    assert_eq!(next(&lines), "after");
}

#[test]
fn a_will_is_left_behind_by_a_killed_client_only() {
    let broker = Broker::start();
    let mut watcher = Whose::Ours.subscribe(&broker, &["-t", "will/#", "-q", "1", "-v", "-i", "watcher"]);
    let lines = watcher.lines();
    let with_will = |topic: &str, signal: &str| {
        let arguments = ["-t", "x", "-i", topic, "--will-topic", topic, "--will-payload", "gone", "--will-qos", "1"];
        let client = Whose::Ours.subscribe(&broker, &arguments);
        client.signal(signal);
        let _ = client.output();
    };
    with_will("will/polite", "-TERM");
    with_will("will/killed", "-KILL");
    assert_eq!(next(&lines), "will/killed gone");
}

#[test]
fn a_unix_socket_and_a_url_lead_there_too() {
    let config = "[[listeners]]\nname = 'unix'\nurl = 'unix://@DIR@/dunlin.sock'\n\
        [[listeners]]\nname = 'tcp'\nurl = 'tcp://127.0.0.1:0'\n";
    let broker = Broker::with_config(config);
    let socket = broker.folder.path().join("dunlin.sock").display().to_string();
    let running = Whose::Ours.subscribe(&broker, &["-t", "a/#", "-C", "2", "-v"]);
    let status = Whose::Ours.command("pub", &["--unix", &socket, "-t", "a/1", "-q", "1", "-m", "path"]).status().unwrap();
    assert!(status.success());
    let url = format!("mqtt://127.0.0.1:{}/a/2", broker.address().port());
    let status = Whose::Ours.command("pub", &["-L", &url, "-q", "1", "-m", "url"]).status().unwrap();
    assert!(status.success());
    assert_eq!(running.output().1, "a/1 path\na/2 url\n");
}

#[test]
fn tls_checks_who_the_broker_is() {
    let certs = tempfile::tempdir().unwrap();
    let folder = certs.path().display().to_string();
    let made = std::process::Command::new(env!("CARGO_BIN_EXE_dunlin")).args(["certs", &folder]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let config = format!(
        "[[listeners]]\nname = 'tls'\nurl = 'tls://127.0.0.1:0'\nallow_anonymous = true\n\
        [listeners.tls]\ncertificate = '{folder}/server.pem'\nkey = '{folder}/server-key.pem'\n"
    );
    let broker = Broker::with_config(&config);
    let ca = format!("{folder}/ca.pem");
    let run =
        |more: &[&str]| Whose::Ours.run("pub", broker.address(), &[&["-t", "a", "-q", "1", "-m", "x"], more].concat(), b"");
    let (code, _, error) = run(&["--cafile", &ca]);
    assert_eq!(code, Some(0), "{error}");
    let (code, _, error) = run(&["--tls-use-os-certs"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("TLS"), "{error}");
    let (code, _, error) = run(&["--cafile", &format!("{folder}/nothing.pem")]);
    assert_eq!(code, Some(1));
    assert!(error.contains("nothing.pem"), "{error}");
    assert_eq!(run(&["--insecure"]).0, Some(2), "who signed it is always checked");
}

#[test]
fn wrong_usage_is_told_before_anything_is_sent() {
    let nowhere = "127.0.0.1:1".parse().unwrap();
    for (tool, arguments) in [
        ("pub", &["-t", "a/#", "-m", "x"][..]),
        ("pub", &["-t", "a"]),
        ("pub", &["-m", "x"]),
        ("pub", &["-t", "a", "-m", "x", "-n"]),
        ("pub", &["-t", "a", "-m", "x", "-q", "3"]),
        ("pub", &["-t", "a", "-m", "x", "-V", "mqttv311", "-D", "publish", "content-type", "t"]),
        ("pub", &["-t", "a", "-m", "x", "-V", "mqttv5", "-D", "publish", "receive-maximum", "1"]),
        ("sub", &["-t", "a#"]),
        ("sub", &["-t", "a", "-F", "%z"]),
        ("sub", &[]),
    ] {
        let (code, _, error) = Whose::Ours.run(tool, nowhere, arguments, b"");
        assert_eq!(code, Some(2), "{tool} {arguments:?}: {error}");
    }
}
