use super::UserProperties;
use super::reason_code::AuthReason;

/// AUTH (3.15), MQTT 5 only: one step of an authentication that takes several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Auth<'a> {
    pub reason: AuthReason,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}
