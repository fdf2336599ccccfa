//! mosquitto's config as lines: the file, and those that its `include_dir` names.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One line that says something.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) file: Arc<str>,
    /// Which of the files that is: 0 for the main one. Two of them may have the same name.
    pub(super) source: usize,
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

    /// What a plugin is told may be a password under any name, or have one in it.
    fn is_secret(&self) -> bool {
        const WORDS: [&str; 7] = ["pass", "pasw", "pwd", "psk", "secret", "token", "uri"];
        let key = self.key.to_ascii_lowercase();
        if key.ends_with("_file") || key.ends_with("_path") || key == "psk_hint" {
            return false;
        }
        let is_of_plugin = key.starts_with("auth_opt_") || key.starts_with("plugin_opt_");
        is_of_plugin || WORDS.iter().any(|word| key.contains(word))
    }
}

impl fmt::Display for Line {
    /// As it stands in the file, with passwords masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.is_secret() { "********" } else { &self.value };
        write!(f, "{} {value}", self.key)
    }
}

/// A folder that could not be read.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) line: Line,
    pub(super) why: String,
}

/// The lines in mosquitto's order, and the `include_dir` lines that led nowhere.
///
/// # Errors
/// If one of the files cannot be read: mosquitto does not start then, and what its lines say may be what keeps a door closed.
pub(super) fn read(path: &Path, locate: impl Fn(&str) -> PathBuf) -> Result<(Vec<Line>, Vec<Unread>), String> {
    let (mut lines, mut unread, mut source) = (Vec::new(), Vec::new(), 0);
    for line in lines_of(&name_of(path), source, &read_text(path)?) {
        if line.key != "include_dir" {
            lines.push(line);
            continue;
        }
        match line.text().and_then(|folder| configs_in(&locate(folder))) {
            Ok(files) => {
                lines.push(line);
                for file in files {
                    source += 1;
                    lines.extend(lines_of(&name_of(&file), source, &read_text(&file)?));
                }
            }
            Err(why) => unread.push(Unread { line, why }),
        }
    }
    Ok((lines, unread))
}

/// Every `*.conf` of the folder in mosquitto's order, whatever it is: what cannot be read is found out when it is.
fn configs_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let cannot = |error| format!("cannot read {}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(cannot)?.collect::<Result<Vec<_>, _>>().map_err(cannot)?;
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(|path| is_config(path)).collect();
    files.sort_by_cached_key(|path| place_in_order(path));
    Ok(files)
}

fn is_config(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "conf")
}

/// mosquitto compares letter by letter, each first without its case: `Ac` comes before `a`, and `ab` before `B`.
fn place_in_order(path: &Path) -> Vec<(u8, u8)> {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.iter().map(|byte| (byte.to_ascii_uppercase(), *byte)).collect()
}

fn read_text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn name_of(path: &Path) -> Arc<str> {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned()).into()
}

fn lines_of(file: &Arc<str>, source: usize, text: &str) -> Vec<Line> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let says_something = |(index, line): (usize, &str)| {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (key, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        Some(Line { file: Arc::clone(file), source, number: index + 1, key: key.into(), value: value.trim_start().into() })
    };
    text.lines().enumerate().filter_map(says_something).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_blank_lines_and_line_ends_are_no_lines() {
        let lines = lines_of(&"m".into(), 0, "\u{feff}# a\n\nport 1883\r\n  user  mosq uitto \n#b\npersistence");
        let told: Vec<_> = lines.iter().map(|line| (line.number, line.key.as_str(), line.value.as_str())).collect();
        assert_eq!(told, [(3, "port", "1883"), (4, "user", "mosq uitto"), (6, "persistence", "")]);
    }

    #[test]
    fn values_are_read_as_mosquitto_reads_them() {
        let lines = lines_of(&"m".into(), 0, "a true # so\na 1\na 20 x\na yes\na\n");
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
            ("remote_pasword geheim", "remote_pasword ********"),
            ("auth_opt_http_token abc", "auth_opt_http_token ********"),
            ("auth_opt_pass s3cret", "auth_opt_pass ********"),
            ("auth_opt_redis_pass x", "auth_opt_redis_pass ********"),
            ("auth_opt_mongo_uri mongodb://u:p@h", "auth_opt_mongo_uri ********"),
            ("plugin_opt_dsn host=h pw=x", "plugin_opt_dsn ********"),
            ("redis_pwd x", "redis_pwd ********"),
            ("password_file /etc/pw", "password_file /etc/pw"),
            ("plugin_opt_config_file /x.json", "plugin_opt_config_file /x.json"),
            ("psk_hint broker", "psk_hint broker"),
            ("auth_opt_files_password_path /pw", "auth_opt_files_password_path /pw"),
        ] {
            assert_eq!(lines_of(&"m".into(), 0, line)[0].to_string(), shown);
        }
    }

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("conf.d")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn read_in(folder: &tempfile::TempDir) -> Result<(Vec<Line>, Vec<Unread>), String> {
        read(&folder.path().join("m.conf"), |path| folder.path().join(path))
    }

    #[test]
    fn included_files_come_in_the_order_of_their_names_where_they_are_named() {
        let folder = folder(&[
            ("m.conf", b"a\ninclude_dir conf.d\ninclude_dir none\ninclude_dir\nb"),
            ("conf.d/2.conf", b"d"),
            ("conf.d/1.conf", b"c"),
            ("conf.d/3.txt", b"e"),
        ]);
        let (lines, unread) = read_in(&folder).unwrap();
        assert_eq!(lines.iter().map(|line| line.key.as_str()).collect::<Vec<_>>(), ["a", "include_dir", "c", "d", "b"]);
        assert_eq!(lines.iter().map(|line| line.source).collect::<Vec<_>>(), [0, 0, 1, 2, 0]);
        assert_eq!(lines[2].place(), "1.conf:1");
        assert!(unread.len() == 2 && unread[0].why.contains("none"), "{unread:?}");
    }

    /// As mosquitto 2.0.11 logs it.
    #[test]
    fn the_case_of_a_name_counts_where_its_letters_are_the_same() {
        let names = ["Ac", "a", "ab", "B"];
        let files: Vec<_> = names.iter().map(|name| (format!("conf.d/{name}.conf"), name.as_bytes())).collect();
        let folder = folder(&files.iter().map(|(name, text)| (name.as_str(), *text)).collect::<Vec<_>>());
        fs::write(folder.path().join("m.conf"), "include_dir conf.d").unwrap();
        let (lines, _) = read_in(&folder).unwrap();
        assert_eq!(lines[1..].iter().map(|line| line.key.as_str()).collect::<Vec<_>>(), names);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_passed_over() {
        let main: (&str, &[u8]) = ("m.conf", b"include_dir conf.d");
        let latin = folder(&[main, ("conf.d/a.conf", b"c"), ("conf.d/b.conf", b"mount_point \xe9/")]);
        assert!(read_in(&latin).unwrap_err().contains("b.conf"));
        let broken = folder(&[main, ("conf.d/a.conf", b"c")]);
        std::os::unix::fs::symlink("/nonexistent", broken.path().join("conf.d/b.conf")).unwrap();
        assert!(read_in(&broken).unwrap_err().contains("b.conf"));
    }
}
