//! A broker with users and rights that can be changed while it runs.

use std::path::PathBuf;

use dunlin::packet::{Connect, ProtocolVersion, QoS, TopicName, Will};

use crate::support::Broker;
use crate::support::client::{Client, V5, connect};

/// alice, bob and carol, whose password is `secret`; with few iterations, so that logins are quick.
pub const USERS: &str = "\
alice:$7$101$DuWeybMpKrc8VEhK$e1KZWXbbtdvJmZxo+SMxZVKHRaCotz9zbbGZeGjv5o1m2XNmS/Wmn4lI2lfG4LMI9TH/Rn2X5YUfN7V0qQjbQg==
bob:$6$I0j6Zbk/ozwvsWef$JWHqnMsNFq6nmRGk1PT7d29rYZj0d//m7fCJfuSngXU0LvfitiBZvtY8eQNc/mW36vS6oEGTAMm3YOM9H1oxzQ==
carol:$6$I0j6Zbk/ozwvsWef$JWHqnMsNFq6nmRGk1PT7d29rYZj0d//m7fCJfuSngXU0LvfitiBZvtY8eQNc/mW36vS6oEGTAMm3YOM9H1oxzQ==
";

/// All three may do all.
pub const EVERYTHING: &str = "user alice\ntopic #\nuser bob\ntopic #\nuser carol\ntopic #\n";

// A login that is woken by this timeout alone is one that fails.
const CONFIG: &str = r#"
[limits]
connect_timeout = "1h"
[auth]
password_file = "@DIR@/users"
acl_file = "@DIR@/acl"
[[listeners]]
name = "tcp"
url = "tcp://127.0.0.1:0"
"#;

pub struct House {
    pub broker: Broker,
}

impl House {
    pub fn build(acl: &str) -> Self {
        Self::furnished(CONFIG, acl)
    }

    /// With a config of one's own.
    pub fn furnished(config: &str, acl: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("users"), USERS).expect("the users can be written");
        std::fs::write(folder.path().join("acl"), acl).expect("the rights can be written");
        Self { broker: Broker::with_config_in(folder, config) }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.broker.folder.path().join(name)
    }

    /// Puts this into the file and has the broker read it.
    pub fn change(&mut self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).expect("the file can be written");
        self.broker.signal("-HUP");
        self.broker.wait_for_log("config reloaded");
    }

    /// A client of this user that is let in, of 5.0 with a clean start.
    pub fn enter(&self, user: &'static str, id: &str) -> Client {
        self.enter_as(V5, user, id)
    }

    pub fn enter_as(&self, version: ProtocolVersion, user: &'static str, id: &str) -> Client {
        Client::connect_with(self.broker.address(), Connect { client_id: id, version, ..login(user) }).0
    }

    /// The code that a CONNECT is refused with.
    pub fn refused(&self, connect: Connect<'_>) -> u8 {
        Client::refused(self.broker.address(), connect)
    }

    pub fn metric(&self, series: &str) -> f64 {
        self.broker.metric(series)
    }
}

/// The right user name and password.
pub fn login(user: &'static str) -> Connect<'static> {
    Connect { username: Some(user), password: Some(b"secret"), ..connect(V5) }
}

/// The same for a session that outlives its connections, and is taken up if it is there.
pub fn lasting(user: &'static str, id: &'static str) -> Connect<'static> {
    let mut login = Connect { client_id: id, clean_start: false, ..login(user) };
    login.properties.session_expiry_interval = 3600;
    login
}

pub fn will(topic: &'static str) -> Will<'static> {
    Will {
        topic: TopicName::new(topic).expect("a topic"),
        payload: b"bye",
        qos: QoS::AtLeastOnce,
        retain: false,
        delay_interval: 0,
        message_expiry_interval: None,
        properties: Default::default(),
    }
}
