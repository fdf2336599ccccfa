//! The config as TOML for people to read, without what is secret in it.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::Config;

/// What a key ends in whose value is a secret. Files are named, not shown: `password_file` is none.
const SECRET_KEYS: [&str; 4] = ["password", "secret", "token", "passphrase"];

const MASK: &str = "***";

pub(super) fn to_toml(config: &Config) -> String {
    mask(&toml::to_string(config).expect("a config is TOML"))
}

/// Masks the values of secret keys, and user names and passwords in URLs, and leaves the rest of the text as it is.
fn mask(text: &str) -> String {
    let Ok(document) = DeTable::parse(text) else { return MASK.into() };
    let mut masked = Vec::new();
    in_table(document.get_ref(), &mut masked);
    masked.sort_by_key(|(range, _)| range.start);
    let mut text = text.to_string();
    for (range, value) in masked.into_iter().rev() {
        text.replace_range(range, &toml::Value::String(value).to_string());
    }
    text
}

/// Whether the value of a key is not to be shown.
pub(super) fn is_secret(key: &str) -> bool {
    SECRET_KEYS.iter().any(|secret| key.ends_with(secret))
}

type Masked = Vec<(Range<usize>, String)>;

fn in_table(table: &DeTable<'_>, masked: &mut Masked) {
    for (key, value) in table {
        if is_secret(key.get_ref()) {
            masked.push((value.span(), MASK.into()));
        } else {
            in_value(value.span(), value.get_ref(), masked);
        }
    }
}

fn in_value(range: Range<usize>, value: &DeValue<'_>, masked: &mut Masked) {
    match value {
        DeValue::String(text) => masked.extend(without_user(text).map(|text| (range, text))),
        DeValue::Array(items) => items.iter().for_each(|item| in_value(item.span(), item.get_ref(), masked)),
        DeValue::Table(table) => in_table(table, masked),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

/// The URL with its user part masked; none if it has none.
fn without_user(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (_, host) = authority.rsplit_once('@')?;
    Some(format!("{scheme}://{MASK}@{host}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_the_rest_is_left_alone() {
        let text = "url = \"https://me:secret@host:1/a@b\"\npassword_file = \"/a\"\n\n[jwt]\nsecret = \"s\"\nplain = \"a@b\"\n\n\
                    [[list]]\nurls = [\"ws://h\", \"ws://u@h\"]\napi_token = 'x'\n";
        let expected = "url = \"https://***@host:1/a@b\"\npassword_file = \"/a\"\n\n[jwt]\nsecret = \"***\"\nplain = \"a@b\"\n\n\
                        [[list]]\nurls = [\"ws://h\", \"ws://***@h\"]\napi_token = \"***\"\n";
        assert_eq!(mask(text), expected);
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same_config() {
        let config = Config::default();
        assert_eq!(toml::from_str::<Config>(&to_toml(&config)).unwrap(), config);
    }
}
