use crate::support::Broker;
use crate::tools::{dunlin, run};

#[test]
fn the_exit_code_tells_whether_the_broker_is_ready() {
    let mut broker = Broker::start();
    let admin = broker.admin.unwrap().to_string();
    assert_eq!(run(dunlin().args(["health", "--admin", &admin]), 0), "ready\n");
    broker.signal("-TERM");
    broker.wait();
    let told = run(dunlin().args(["health", "--admin", &admin]), 1);
    assert!(told.contains(&admin), "{told}");
}

#[test]
fn the_address_may_come_from_the_environment_as_in_a_container() {
    let broker = Broker::start();
    let admin = broker.admin.unwrap().to_string();
    run(dunlin().arg("health").env("DUNLIN__ADMIN__BIND", admin), 0);
}

#[test]
fn what_is_not_ready_and_what_is_no_broker_fail_with_a_reason() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        use std::io::{Read, Write};
        for answer in ["HTTP/1.1 503 Service Unavailable\r\n\r\nnot ready: storage\n", "220 mail\r\n"] {
            let mut stream = listener.accept().unwrap().0;
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    assert!(run(dunlin().args(["health", "--admin", &address]), 1).contains("storage"));
    assert!(run(dunlin().args(["health", "--admin", &address]), 1).contains("no HTTP"));
    server.join().unwrap();
    assert!(run(dunlin().args(["health", "--admin", "none"]), 1).contains("no admin port"));
    run(dunlin().args(["health", "--config", "/nonexistent.toml"]), 78);
}
