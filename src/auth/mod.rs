//! Who are you, and may you.
//!
//! An [`Authenticator`] asks its methods in their order who a client is; an [`Authorizer`] says what that client may do. Both are
//! values: a reload builds new ones. Nothing here waits, but [`Authenticator::hash`] may take tens of milliseconds. Those who are asked
//! outside stand behind [`Hook`].

mod acl_file;
mod acl_rule;
mod api_keys;
mod authenticator;
mod authorizer;
pub mod certificate;
pub mod config;
mod grants;
mod hook;
pub mod jwt;
mod password_file;
mod password_hash;
mod password_update;
pub mod scram;
mod template;
mod text_file;

pub use acl_file::{AclFile, AclFileError, InvalidAclLine};
pub use api_keys::{ApiKeyFileError, ApiKeys, Role, new_secret, update_api_key_file};
pub use authenticator::{Authenticator, Credentials, Granted, Method, Step, Verdict, Way};
pub use authorizer::{Asker, Authorizer, Claim, Opinion, Principal};
pub use config::{AuthConfig, CertificateIdentity, HttpConfig, JwtConfig, MethodName, RequiredClaim};
pub use grants::{Grants, InvalidGrants};
pub use hook::{Action, Answering, Hook, LoginAnswer, LoginQuestion, Place, RightAnswer, RightQuestion, Welcome};
pub use password_file::{InvalidPasswordLine, InvalidUserName, PasswordFile, PasswordFileError, check_user_name};
pub use password_hash::{HashError, InvalidHash, Kind, PasswordHash, hash_password};
pub use password_update::{Change, give_to_owner_of, update_password_file};
pub use scram::{ScramError, ScramExchange, ScramServer, ScramSuccess};
pub use template::{Facts, InvalidTemplate, MountPoint, Template};
pub use text_file::TextFileError;
