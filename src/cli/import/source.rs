//! mosquitto's config as lines: the file, and those that its `include_dir` names.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One line that says something.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) file: Arc<str>,
    /// From 1.
    pub(super) number: usize,
    pub(super) key: String,
    /// All behind the key, without blanks around it.
    pub(super) value: String,
}

/// What stands where a value of another kind should.
type Wrong = String;

impl Line {
    /// mosquitto reads switches and numbers up to the next blank, and texts up to the end of the line.
    pub(super) fn word(&self) -> &str {
        self.value.split([' ', '\t']).next().unwrap_or_default()
    }

    pub(super) fn flag(&self) -> Result<bool, Wrong> {
        match self.word() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            other => Err(format!("{other:?} is neither true nor false")),
        }
    }

    pub(super) fn number(&self) -> Result<i64, Wrong> {
        self.word().parse().map_err(|_| format!("{:?} is no number", self.word()))
    }

    pub(super) fn text(&self) -> Result<&str, Wrong> {
        if self.value.is_empty() { Err("the value is missing".into()) } else { Ok(&self.value) }
    }

    /// Where it stands, as in `mosquitto.conf:12`.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file, self.number)
    }

    fn is_secret(&self) -> bool {
        let key = self.key.to_ascii_lowercase();
        let is_file = key.ends_with("_file") || key.ends_with("_path");
        let hides = ["password", "psk", "secret", "token", "passwd", "kpass"].iter().any(|word| key.contains(word));
        hides && !is_file && key != "psk_hint"
    }
}

impl fmt::Display for Line {
    /// As it stands in the file, with passwords masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.is_secret() { "********" } else { &self.value };
        write!(f, "{} {value}", self.key)
    }
}

/// A folder or a file of it that could not be read.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) line: Line,
    pub(super) why: String,
}

/// The lines in mosquitto's order, and the `include_dir` lines that led nowhere.
pub(super) fn read(path: &Path, locate: impl Fn(&str) -> PathBuf) -> Result<(Vec<Line>, Vec<Unread>), String> {
    let text = read_text(path)?;
    let (mut lines, mut unread) = (Vec::new(), Vec::new());
    for line in lines_of(&name_of(path), &text) {
        if line.key != "include_dir" {
            lines.push(line);
            continue;
        }
        match line.text().and_then(|folder| include(&locate(folder))) {
            Ok(included) => {
                lines.push(line);
                lines.extend(included);
            }
            Err(why) => unread.push(Unread { line, why }),
        }
    }
    Ok((lines, unread))
}

/// Every `*.conf` of the folder in the order of the names' bytes.
fn include(folder: &Path) -> Result<Vec<Line>, String> {
    let cannot = |error| format!("cannot read {}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(cannot)?.collect::<Result<Vec<_>, _>>().map_err(cannot)?;
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(|path| is_config(path)).collect();
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        lines.extend(lines_of(&name_of(&file), &read_text(&file)?));
    }
    Ok(lines)
}

fn is_config(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "conf") && path.is_file()
}

fn read_text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn name_of(path: &Path) -> Arc<str> {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned()).into()
}

fn lines_of(file: &Arc<str>, text: &str) -> Vec<Line> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let says_something = |(index, line): (usize, &str)| {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (key, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        Some(Line { file: Arc::clone(file), number: index + 1, key: key.into(), value: value.trim_start().into() })
    };
    text.lines().enumerate().filter_map(says_something).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_blank_lines_and_line_ends_are_no_lines() {
        let lines = lines_of(&"m".into(), "\u{feff}# a\n\nport 1883\r\n  user  mosq uitto \n#b\npersistence");
        let told: Vec<_> = lines.iter().map(|line| (line.number, line.key.as_str(), line.value.as_str())).collect();
        assert_eq!(told, [(3, "port", "1883"), (4, "user", "mosq uitto"), (6, "persistence", "")]);
    }

    #[test]
    fn values_are_read_as_mosquitto_reads_them() {
        let lines = lines_of(&"m".into(), "a true # so\na 1\na 20 x\na yes\na\n");
        assert_eq!(lines[0].flag(), Ok(true));
        assert_eq!(lines[1].flag(), Ok(true));
        assert_eq!(lines[2].number(), Ok(20));
        assert_eq!(lines[3].flag(), Err("\"yes\" is neither true nor false".into()));
        assert!(lines[4].text().is_err() && lines[4].number().is_err());
    }

    #[test]
    fn passwords_are_not_shown() {
        for (line, shown) in [
            ("remote_password geheim", "remote_password ********"),
            ("bridge_psk 1234", "bridge_psk ********"),
            ("auth_opt_http_token abc", "auth_opt_http_token ********"),
            ("password_file /etc/pw", "password_file /etc/pw"),
            ("psk_hint broker", "psk_hint broker"),
            ("auth_opt_files_password_path /pw", "auth_opt_files_password_path /pw"),
        ] {
            assert_eq!(lines_of(&"m".into(), line)[0].to_string(), shown);
        }
    }

    #[test]
    fn included_files_come_in_the_order_of_their_names_where_they_are_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("conf.d")).unwrap();
        for (name, text) in [
            ("m.conf", "a\ninclude_dir conf.d\ninclude_dir none\ninclude_dir\nb"),
            ("conf.d/2.conf", "d"),
            ("conf.d/1.conf", "c"),
            ("conf.d/3.txt", "e"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let (lines, unread) = read(&folder.path().join("m.conf"), |path| folder.path().join(path)).unwrap();
        assert_eq!(lines.iter().map(|line| line.key.as_str()).collect::<Vec<_>>(), ["a", "include_dir", "c", "d", "b"]);
        assert_eq!(lines[2].place(), "1.conf:1");
        assert!(unread.len() == 2 && unread[0].why.contains("none"), "{unread:?}");
    }
}
