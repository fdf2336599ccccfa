//! What became of every line.

use std::fmt;

use super::source::Line;

/// What became of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has a key here that means the same.
    Taken(String),
    /// It has a key here; in part it means something else.
    Differs(String),
    /// It is so anyway, or has nothing to do here.
    Needless(String),
    /// Nothing here does this.
    Dropped(String),
    /// The value is none that mosquitto takes.
    Wrong(String),
    /// mosquitto has no such option.
    Unknown(String),
}

impl Verdict {
    pub(super) fn taken(key: impl Into<String>) -> Self {
        Self::Taken(key.into())
    }

    pub(super) fn differs(key: &str, how: &str) -> Self {
        Self::Differs(format!("{key}: {how}"))
    }

    pub(super) fn needless(why: impl Into<String>) -> Self {
        Self::Needless(why.into())
    }

    pub(super) fn dropped(why: impl Into<String>) -> Self {
        Self::Dropped(why.into())
    }

    /// Whether the line is not in the result although it said something.
    pub(super) const fn is_lost(&self) -> bool {
        matches!(self, Self::Dropped(_) | Self::Wrong(_) | Self::Unknown(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(text) | Self::Differs(text) | Self::Needless(text) | Self::Dropped(text) | Self::Unknown(text) => {
                f.write_str(text)
            }
            Self::Wrong(text) => write!(f, "not taken over: {text}"),
        }
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    /// `mosquitto.conf:12`
    pub(super) place: String,
    pub(super) text: String,
    pub(super) verdict: Verdict,
}

/// Every line with its verdict, and what holds without a line.
#[derive(Debug, Default)]
pub(super) struct Report {
    entries: Vec<Entry>,
    notes: Vec<String>,
}

impl Report {
    pub(super) fn line(&mut self, line: &Line, verdict: Verdict) {
        self.entry(line.place(), line.to_string(), verdict);
    }

    pub(super) fn entry(&mut self, place: String, text: String, verdict: Verdict) {
        self.entries.push(Entry { place, text, verdict });
    }

    /// Tells something else of lines that were taken, since what they are for is not there in the end. Why one is lost anyway stays.
    pub(super) fn revise(&mut self, lines: &[Line], verdict: &Verdict) {
        for line in lines {
            let (place, text) = (line.place(), line.to_string());
            let taken = self.entries.iter_mut().filter(|entry| !entry.verdict.is_lost());
            for entry in taken.filter(|entry| entry.place == place && entry.text == text) {
                entry.verdict = verdict.clone();
            }
        }
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(super) fn lost(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.verdict.is_lost())
    }

    /// How many lines there were, and how many are lost.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.entries.len(), self.lost().count())
    }

    /// For the terminal: what somebody must read.
    pub(super) fn urgent(&self) -> String {
        let mut text = String::new();
        self.section(&mut text, "Not taken over", Verdict::is_lost);
        self.section(&mut text, "Taken over, and means something else in part", |verdict| {
            matches!(verdict, Verdict::Differs(_))
        });
        self.notes(&mut text);
        text
    }

    /// For the file: everything.
    pub(super) fn full(&self, source: &str) -> String {
        let mut text = format!("What became of {source}, line by line.\n\n");
        text.push_str(&self.urgent());
        self.section(&mut text, "Taken over", |verdict| matches!(verdict, Verdict::Taken(_)));
        self.section(&mut text, "Needs no key here", |verdict| matches!(verdict, Verdict::Needless(_)));
        text
    }

    fn section(&self, text: &mut String, title: &str, belongs: impl Fn(&Verdict) -> bool) {
        let entries: Vec<_> = self.entries.iter().filter(|entry| belongs(&entry.verdict)).collect();
        if entries.is_empty() {
            return;
        }
        text.push_str(&format!("{title} ({})\n", entries.len()));
        for Entry { place, text: line, verdict } in entries {
            text.push_str(&format!("  {place}: {line}\n      {verdict}\n"));
        }
        text.push('\n');
    }

    fn notes(&self, text: &mut String) {
        if self.notes.is_empty() {
            return;
        }
        text.push_str("To know, without a line of its own\n");
        for note in &self.notes {
            text.push_str(&format!("  - {note}\n"));
        }
        text.push('\n');
    }
}
