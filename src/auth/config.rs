use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[auth]`: who may connect and what they may do. A listener may override the parts that its own table names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Clients without a user name: not set, they are let in on loopback and Unix-socket listeners as long as there is no
    /// password file; `true` lets them in everywhere, `false` nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_anonymous: Option<bool>,
    /// User names and hashed passwords, as `dunlin passwd` and `mosquitto_passwd` write them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Rights, in mosquitto's format. Without a file all that are let in may do all; with one, what it does not grant is denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acl_file: Option<PathBuf>,
    /// Passwords that are hashed at the same time, each on a thread of its own: a bound on what guessing can cost.
    pub max_password_checks: usize,
    /// Password checks that may wait for their turn; a login over this is refused with 0x89.
    pub max_waiting_password_checks: usize,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            allow_anonymous: None,
            password_file: None,
            acl_file: None,
            max_password_checks: 2,
            max_waiting_password_checks: 1000,
        }
    }
}

/// What of a client's verified certificate becomes its user name (`[listeners.tls] identity`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateIdentity {
    /// The certificate opens the door, the user name comes from CONNECT.
    #[default]
    None,
    /// The subject's common name.
    CommonName,
    /// The whole subject, `CN=…,O=…`.
    Subject,
    /// The first DNS name, or else e-mail address or URI, of the Subject Alternative Name.
    San,
}
