//! Our config as text, each key with the line that it comes from.

use toml::Value;

/// The tables in the order in which they are first named; the keys before the first table stand in one without a header.
#[derive(Debug, Default)]
pub(super) struct Document {
    tables: Vec<Table>,
}

/// A table, or one of an array of tables.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// `[limits]`, `[[listeners]]`, or nothing.
    header: String,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    key: &'static str,
    value: Value,
    comment: String,
}

impl Table {
    pub(super) fn new(header: &str) -> Self {
        Self { header: header.into(), ..Self::default() }
    }

    /// Sets a key; a later value replaces an earlier one.
    pub(super) fn set(&mut self, key: &'static str, value: impl Into<Value>, comment: impl Into<String>) {
        let entry = Entry { key, value: value.into(), comment: comment.into() };
        match self.entries.iter_mut().find(|there| there.key == key) {
            Some(there) => *there = entry,
            None => self.entries.push(entry),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    fn write(&self, text: &mut String) {
        if !self.header.is_empty() {
            text.push_str(&format!("\n{}\n", self.header));
        }
        for Entry { key, value, comment } in &self.entries {
            if !comment.is_empty() {
                text.push_str(&commented(comment));
            }
            text.push_str(&format!("{key} = {value}\n"));
        }
    }
}

impl Document {
    /// The table with this header, made at the first call.
    pub(super) fn table(&mut self, header: &str) -> &mut Table {
        let index = self.tables.iter().position(|table| table.header == header).unwrap_or_else(|| {
            self.tables.push(Table::new(header));
            self.tables.len() - 1
        });
        &mut self.tables[index]
    }

    /// One more table, also where there is one with its header.
    pub(super) fn push(&mut self, table: Table) {
        self.tables.push(table);
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let is_empty = |table: &Table| table.entries.is_empty();
        self.tables.iter().filter(|table| !is_empty(table)).for_each(|table| table.write(&mut text));
        text
    }
}

/// Each line of the text as a comment. What a stranger wrote cannot end the comment: no line is left without its `#`.
pub(super) fn commented(text: &str) -> String {
    text.lines()
        .map(|line| format!("# {}", line.replace(|c: char| c.is_control() && c != '\t', "?")).trim_end().to_owned() + "\n")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_toml_whatever_the_values_hold() {
        let mut document = Document::default();
        document.table("").set("data_dir", "da\"ta\n\\", "a\nb");
        document.table("[limits]").set("max_inflight", 20, "m:1: x \r y");
        document.table("[limits]").set("max_inflight", 21, "");
        document.table("[empty]");
        let text = document.text();
        let read: toml::Table = text.parse().unwrap();
        assert_eq!(read["data_dir"].as_str(), Some("da\"ta\n\\"));
        assert_eq!(read["limits"]["max_inflight"].as_integer(), Some(21));
        assert!(text.contains("# a\n# b\n") && !text.contains("empty"), "{text}");
    }
}
