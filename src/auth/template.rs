//! Texts with places that are filled in for each client: mount points, and what claims of a token must say.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::certificate;

/// `%u` is the user name, `%c` the client identifier, `%{claim.NAME}` a claim of the client's token, `%{cert.O}` an attribute of the
/// subject of its certificate (`CN`, `O`, `OU` and so on), `%%` a percent sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Box<[Piece]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    ClientId,
    UserName,
    Claim(String),
    Certificate(String),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    #[error("%{0} is none of %u, %c, %{{claim.NAME}}, %{{cert.NAME}} and %%")]
    Unknown(String),
    #[error("must not contain + # or a zero character")]
    Wildcard,
    #[error("must end in / if it has places to fill in: else the topics of one could be those of another")]
    NoSlash,
    #[error("each place to fill in needs a level of its own, with / between two of them")]
    Adjacent,
    #[error("must not start with $SYS, which is the broker's own")]
    Sys,
}

/// What is known of a client.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub client_id: &'a str,
    pub username: Option<&'a str>,
    /// Those of a token that has been verified.
    pub claims: Option<&'a Map<String, Value>>,
    /// The certificate, verified, in DER.
    pub certificate: Option<&'a [u8]>,
}

impl Template {
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            plain.push_str(before);
            let (piece, after) = place(after)?;
            rest = after;
            let Some(piece) = piece else {
                plain.push('%');
                continue;
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(piece);
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self { pieces: pieces.into() })
    }

    /// The text for a client; `None` if something that it names is not there.
    pub fn fill(&self, facts: &Facts<'_>) -> Option<String> {
        self.pieces.iter().map(|piece| piece.fill(facts)).collect()
    }
}

/// What stands behind a `%`, and what follows it; `None` for a `%` itself.
fn place(text: &str) -> Result<(Option<Piece>, &str), InvalidTemplate> {
    let unknown = || InvalidTemplate::Unknown(text.chars().take(20).collect());
    if let Some(rest) = text.strip_prefix('%') {
        return Ok((None, rest));
    }
    if let Some(rest) = text.strip_prefix('c') {
        return Ok((Some(Piece::ClientId), rest));
    }
    if let Some(rest) = text.strip_prefix('u') {
        return Ok((Some(Piece::UserName), rest));
    }
    let (name, rest) = text.strip_prefix('{').and_then(|text| text.split_once('}')).ok_or_else(unknown)?;
    let piece = match name.split_once('.') {
        Some(("claim", name)) if !name.is_empty() => Piece::Claim(name.into()),
        Some(("cert", name)) if !name.is_empty() => Piece::Certificate(name.into()),
        _ => return Err(unknown()),
    };
    Ok((Some(piece), rest))
}

impl Piece {
    fn fill(&self, facts: &Facts<'_>) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::ClientId => Some(facts.client_id.into()),
            Self::UserName => facts.username.map(String::from),
            Self::Claim(name) => match facts.claims?.get(name)? {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            },
            Self::Certificate(name) => certificate::subject_attribute(facts.certificate?, name),
        }
    }
}

/// Put before every topic of a client. With places to fill in, each client or group of clients is a tenant of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    template: Template,
    /// Without places to fill in it is the same for all.
    fixed: Option<Arc<str>>,
}

impl MountPoint {
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        if text.contains(['+', '#', '\0']) {
            return Err(InvalidTemplate::Wildcard);
        }
        let template = Template::parse(text)?;
        if let [Piece::Text(text)] = &*template.pieces {
            if text == "$SYS" || text.starts_with("$SYS/") {
                return Err(InvalidTemplate::Sys);
            }
            return Ok(Self { fixed: Some(text.as_str().into()), template });
        }
        let mut was_place = false;
        for piece in &template.pieces {
            match piece {
                Piece::Text(text) => was_place &= !text.contains('/'),
                _ if was_place => return Err(InvalidTemplate::Adjacent),
                _ => was_place = true,
            }
        }
        match template.pieces.last() {
            Some(Piece::Text(text)) if text.ends_with('/') => Ok(Self { template, fixed: None }),
            _ => Err(InvalidTemplate::NoSlash),
        }
    }

    /// The mount point of a client; `None` if what it names is not there, or would not be one level of a topic: empty, with `/`, `+`, `#`
    /// or a control character in it, or `$` at its start, where it would begin the topic.
    pub fn fill(&self, facts: &Facts<'_>) -> Option<Arc<str>> {
        if let Some(fixed) = &self.fixed {
            return Some(fixed.clone());
        }
        let mut filled = String::new();
        for piece in &self.template.pieces {
            let text = piece.fill(facts)?;
            if !matches!(piece, Piece::Text(_)) {
                let is_level = !text.is_empty() && !text.contains(['/', '+', '#']) && !text.contains(char::is_control);
                if !is_level || (filled.is_empty() && text.starts_with('$')) {
                    return None;
                }
            }
            filled.push_str(&text);
        }
        (!filled.starts_with("$SYS/")).then(|| filled.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fill(text: &str, username: Option<&str>) -> Option<String> {
        let claims = json!({"tenant": "acme", "number": 7, "list": ["a"], "slash": "a/b"});
        let facts = Facts { client_id: "c", username, claims: claims.as_object(), certificate: None };
        MountPoint::parse(text).unwrap().fill(&facts).map(|text| text.to_string())
    }

    #[test]
    fn places_are_filled_with_what_is_known() {
        for (text, filled) in [
            ("plain", Some("plain")),
            ("100%%/", Some("100%/")),
            ("t/%u/", Some("t/u/")),
            ("%u/%c/", Some("u/c/")),
            ("t-%{claim.tenant}/", Some("t-acme/")),
            ("%{claim.number}/x/", Some("7/x/")),
            ("%{claim.list}/", None),
            ("%{claim.slash}/", None),
            ("%{claim.missing}/", None),
            ("%{cert.O}/", None),
        ] {
            assert_eq!(fill(text, Some("u")).as_deref(), filled, "{text}");
        }
        assert_eq!(fill("t/%u/", None), None);
    }

    #[test]
    fn a_name_that_is_no_level_gets_no_mount_point() {
        for name in ["", "a/b", "+", "#", "a+", "a\u{1}"] {
            assert_eq!(fill("t/%u/", Some(name)), None, "{name:?}");
        }
        assert_eq!(fill("%u/", Some("$SYS")), None);
        assert_eq!(fill("%u/", Some("$share")), None);
        assert_eq!(fill("t/%u/", Some("$x")).as_deref(), Some("t/$x/"));
    }

    #[test]
    fn mount_points_under_which_tenants_could_meet_are_refused() {
        for (text, cause) in [
            ("t/%u", InvalidTemplate::NoSlash),
            ("t/%u-x", InvalidTemplate::NoSlash),
            ("%u%c/", InvalidTemplate::Adjacent),
            ("%u-%c/", InvalidTemplate::Adjacent),
            ("a/+/", InvalidTemplate::Wildcard),
            ("$SYS/x/", InvalidTemplate::Sys),
            ("%x/", InvalidTemplate::Unknown("x/".into())),
            ("%{claim.}/", InvalidTemplate::Unknown("{claim.}/".into())),
            ("%{tenant}/", InvalidTemplate::Unknown("{tenant}/".into())),
        ] {
            assert_eq!(MountPoint::parse(text), Err(cause), "{text}");
        }
    }
}
