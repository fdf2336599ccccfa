//! JSON for people.

use serde_json::Value;

/// The fields of an object, one a line.
pub fn fields(value: &Value) -> String {
    let Some(object) = value.as_object() else { return format!("{}\n", text(value)) };
    let width = object.keys().map(|key| key.chars().count()).max().unwrap_or_default();
    object.iter().map(|(key, value)| format!("{key:width$}  {}\n", text(value))).collect()
}

/// One line for each entry, under a line of names.
pub fn rows(entries: &[Value], columns: &[&str]) -> String {
    let mut lines = vec![columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>()];
    lines.extend(entries.iter().map(|entry| columns.iter().map(|column| text(&entry[*column])).collect()));
    let width = |place: usize| lines.iter().map(|line| line[place].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let show = |line: &Vec<String>| {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    lines.iter().map(show).collect()
}

/// What a client chose must not reach the terminal as it is: it could hold its commands.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => harmless(text),
        other => harmless(&other.to_string()), // JSON escapes some of it only
    }
}

fn harmless(text: &str) -> String {
    text.chars().flat_map(shown).collect()
}

fn shown(letter: char) -> Vec<char> {
    if letter.is_control() || ('\u{202A}'..='\u{202E}').contains(&letter) || ('\u{2066}'..='\u{2069}').contains(&letter) {
        letter.escape_unicode().collect()
    } else {
        vec![letter]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let entries = [json!({"a": "long text", "b": 1}), json!({"a": "x", "b": null})];
        assert_eq!(rows(&entries, &["a", "b"]), "a          b\nlong text  1\nx          -\n");
        assert_eq!(fields(&json!({"one": 1, "three": true})), "one    1\nthree  true\n");
    }

    #[test]
    fn nothing_commands_the_terminal() {
        assert_eq!(text(&json!("a\u{1b}[2Jb\n\u{202e}")), "a\\u{1b}[2Jb\\u{a}\\u{202e}");
    }

    #[test]
    fn nothing_within_lists_and_objects_commands_the_terminal_either() {
        let consumers = json!([{"clientid": "a\u{9b}2Jb\u{7f}\u{202e}"}]);
        assert_eq!(text(&consumers), r#"[{"clientid":"a\u{9b}2Jb\u{7f}\u{202e}"}]"#);
        assert!(fields(&json!({ "consumers": consumers })).contains("a\\u{9b}2J"));
    }
}
