//! Who are you, and may you.
//!
//! An [`Authenticator`] asks its methods in their order who a client is; an [`Authorizer`] says what that client may do. Both are
//! values: a reload builds new ones. Nothing here waits, but [`Authenticator::authenticate`] may hash for tens of milliseconds.

mod acl_file;
mod acl_rule;
mod api_keys;
mod authenticator;
mod authorizer;
pub mod certificate;
pub mod config;
mod password_file;
mod password_hash;
mod password_update;
pub mod scram;
mod text_file;

pub use acl_file::{AclFile, AclFileError, InvalidAclLine};
pub use api_keys::{ApiKeyFileError, ApiKeys, Role, new_secret, update_api_key_file};
pub use authenticator::{Authenticator, Credentials, Verdict};
pub use authorizer::{Authorizer, Principal};
pub use config::{AuthConfig, CertificateIdentity};
pub use password_file::{InvalidPasswordLine, InvalidUserName, PasswordFile, PasswordFileError, check_user_name};
pub use password_hash::{HashError, InvalidHash, Kind, PasswordHash, hash_password};
pub use password_update::{Change, update_password_file};
pub use scram::{ScramError, ScramExchange, ScramServer, ScramSuccess};
pub use text_file::TextFileError;
