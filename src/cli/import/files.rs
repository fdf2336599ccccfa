//! mosquitto's password and ACL files, copied line by line. What our strict readers refuse becomes a comment, and is told.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::report::{Report, Verdict};
use crate::auth::{AclFile, PasswordFile};

/// The files of the result besides the config, by their names in its folder.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) written: Vec<NewFile>,
    /// Which file of mosquitto became which of ours.
    copies: HashMap<(Kind, PathBuf), String>,
}

#[derive(Debug)]
pub(super) struct NewFile {
    pub(super) name: String,
    pub(super) text: String,
    /// Holds what others must not read.
    pub(super) is_secret: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Passwords,
    Rights,
    Authorities,
}

impl Files {
    /// Copies a password file, once; its name in our folder. One that cannot be read becomes an empty one: nobody is let in by it.
    pub(super) fn passwords(&mut self, path: &Path, report: &mut Report) -> String {
        self.copy(Kind::Passwords, path, report, passwords)
    }

    /// Copies an ACL file, once; its name in our folder. One that cannot be read becomes an empty one: it grants nothing.
    pub(super) fn rights(&mut self, path: &Path, report: &mut Report) -> String {
        self.copy(Kind::Rights, path, report, rights)
    }

    /// A password file without users, for those that only a plugin knew.
    pub(super) fn no_users(&mut self) -> String {
        self.add(Kind::Passwords, "# dunlin passwd THIS-FILE NAME adds a user.\n".into())
    }

    /// An ACL file that grants nothing, for rights that only a plugin knew.
    pub(super) fn no_rights(&mut self) -> String {
        let text = "# Rights that a plugin of mosquitto gave; here nothing is granted until it stands here:\n#\n# user NAME\n\
                    # topic readwrite FILTER\n";
        self.add(Kind::Rights, text.into())
    }

    /// The certificates of all these files and folders in one file.
    pub(super) fn authorities(&mut self, sources: &[PathBuf], report: &mut Report) -> String {
        let mut text = String::new();
        for source in sources {
            match certificates(source) {
                Ok(pem) => text.push_str(&pem),
                Err(why) => report.note(format!("certificate authorities: {why}")),
            }
        }
        self.add(Kind::Authorities, text)
    }

    fn copy(&mut self, kind: Kind, path: &Path, report: &mut Report, convert: fn(&str, &str, &mut Report) -> String) -> String {
        if let Some(name) = self.copies.get(&(kind, path.to_path_buf())) {
            return name.clone();
        }
        let shown = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        let text = match fs::read_to_string(path) {
            Ok(text) => convert(&shown, text.strip_prefix('\u{feff}').unwrap_or(&text), report),
            Err(error) => {
                let why = format!("cannot read {}: {error}", path.display());
                report.note(format!("{why}; an empty file stands in its place, which lets nobody in and grants nothing"));
                format!("# {why}\n")
            }
        };
        let name = self.add(kind, text);
        self.copies.insert((kind, path.to_path_buf()), name.clone());
        name
    }

    fn add(&mut self, kind: Kind, text: String) -> String {
        let (stem, end) = match kind {
            Kind::Passwords => ("users", ""),
            Kind::Rights => ("acl", ""),
            Kind::Authorities => ("client-ca", ".pem"),
        };
        let is_free = |name: &String| self.written.iter().all(|file| file.name != *name);
        let names = std::iter::once(format!("{stem}{end}")).chain((2..).map(|number| format!("{stem}-{number}{end}")));
        let name = names.into_iter().find(is_free).expect("numbers do not end");
        self.written.push(NewFile { name: name.clone(), text, is_secret: kind == Kind::Passwords });
        name
    }
}

/// Of a name that is there twice mosquitto knows the last line.
fn passwords(file: &str, text: &str, report: &mut Report) -> String {
    let name_of = |line: &str| line.split_once(':').map_or("", |(name, _)| name).to_owned();
    let last: HashMap<String, usize> = text.lines().enumerate().map(|(index, line)| (name_of(line), index)).collect();
    let mut copy = String::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        let name = name_of(line);
        let wrong = match PasswordFile::parse(line) {
            Err((_, cause)) => Some(cause.to_string()),
            Ok(user) if !user.is_empty() && last.get(&name) != Some(&index) => Some("the user is there again below".into()),
            Ok(_) => None,
        };
        match wrong {
            None => copy.push_str(&format!("{line}\n")),
            Some(why) => {
                // Without what follows the name: it may be the password.
                copy.push_str(&format!("# not taken over: {name}: {why}\n"));
                report.entry(format!("{file}:{}", index + 1), format!("{name}:…"), Verdict::Dropped(why));
            }
        }
    }
    copy
}

fn rights(file: &str, text: &str, report: &mut Report) -> String {
    let mut copy = String::new();
    for (index, line) in text.lines().enumerate() {
        let place = || format!("{file}:{}", index + 1);
        let line = line.trim_end();
        let ours = with_access(line).unwrap_or_else(|| line.to_owned());
        let wrong = AclFile::parse(&ours).err();
        let wider = wrong.as_ref().and_then(|_| wider_denial(line));
        if let (Some((_, cause)), None) = (&wrong, &wider) {
            copy.push_str(&format!("# not taken over: {line}\n"));
            report.entry(place(), line.into(), Verdict::Dropped(cause.to_string()));
            continue;
        }
        if let Some(how) = means_more(line, wider.is_some()) {
            report.entry(place(), line.into(), Verdict::Differs(how));
        }
        copy.push_str(&format!("{}\n", wider.unwrap_or(ours)));
    }
    copy
}

/// mosquitto takes `topic a b` for a filter with a blank in it; here that needs the word for the access.
fn with_access(line: &str) -> Option<String> {
    let (keyword, rest) = line.trim_start().split_once([' ', '\t'])?;
    let rest = rest.trim_start();
    let (word, _) = rest.split_once([' ', '\t'])?;
    let is_access = ["read", "write", "readwrite", "deny"].contains(&word);
    (["topic", "pattern"].contains(&keyword) && !is_access).then(|| format!("{keyword} readwrite {rest}"))
}

/// A denial with a `+` for each level that our reader refuses, as `%c` is but a part of it. Left out, it would grant what it denied.
fn wider_denial(line: &str) -> Option<String> {
    let pattern = denied_pattern(line)?;
    let is_part = |level: &str, name: &str| level != name && level.contains(name);
    let has_part = |level: &str| is_part(level, "%c") || is_part(level, "%u");
    let levels: Vec<&str> = pattern.split('/').map(|level| if has_part(level) { "+" } else { level }).collect();
    // A + does not reach what begins with $.
    let is_beyond = pattern.starts_with('$') && levels[0] == "+";
    let wider = format!("pattern deny {}", levels.join("/"));
    (!is_beyond && AclFile::parse(&wider).is_ok()).then_some(wider)
}

/// The pattern of a `pattern deny` line.
fn denied_pattern(line: &str) -> Option<&str> {
    let blanks = [' ', '\t'];
    let rest = line.trim_start().strip_prefix("pattern")?.strip_prefix(blanks)?.trim_start();
    Some(rest.strip_prefix("deny")?.strip_prefix(blanks)?.trim_start())
}

fn means_more(line: &str, is_wider: bool) -> Option<String> {
    let wider =
        "%c and %u are levels of their own here, so that a + stands in place of this one: it takes away as much for all names";
    let pattern = "here it takes away also what a topic line grants; mosquitto asks topic lines first";
    let parts = [is_wider.then_some(wider), denied_pattern(line).map(|_| pattern)];
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(". "))
}

/// The PEM texts of a file, or of all files of a folder (`capath`) that hold one. Links to the same file count once.
fn certificates(source: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", source.display());
    if !source.is_dir() {
        return fs::read_to_string(source).map(with_line_end).map_err(cannot);
    }
    let mut files: Vec<PathBuf> =
        fs::read_dir(source).map_err(cannot)?.filter_map(|entry| fs::canonicalize(entry.ok()?.path()).ok()).collect();
    files.sort();
    files.dedup();
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    Ok(texts.filter(|text| text.contains("BEGIN CERTIFICATE")).map(with_line_end).collect())
}

fn with_line_end(text: String) -> String {
    if text.ends_with('\n') { text } else { text + "\n" }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::auth::{Asker, Authorizer, Claim, Principal};
    use crate::packet::TopicName;

    const HASH: &str =
        "$7$101$rSzWFBWixXixnDRf$LOevje1+R8kSxaYQH6D2JJrPEwqav9sYK6JBNCwBZuxX5NUctyGM7XbGrOQxgMKIz6CgwXFtDCTvs0Gv/mfFkg==";

    #[test]
    fn a_password_file_is_copied_and_what_cannot_be_used_is_told_without_it() {
        let mut report = Report::default();
        let text = format!("# people\nalice:{HASH}\nbob:geheim\nalice:{HASH}\r\n");
        let copy = passwords("pw", &text, &mut report);
        let users = PasswordFile::parse(&copy).unwrap();
        assert!(users.len() == 1 && users.verify("alice", b"secret"));
        let told = report.urgent();
        assert!(
            told.contains("pw:2") && told.contains("again below") && told.contains("pw:3") && told.contains("not hashed"),
            "{told}"
        );
        assert!(!told.contains("geheim") && !copy.contains("geheim") && !told.contains(HASH));
    }

    #[test]
    fn an_acl_file_is_copied_and_what_cannot_be_used_is_told() {
        let mut report = Report::default();
        let copy = rights(
            "acl",
            "topic read a\ntopic a b\nuser x\n topic deny c\npattern read x%c\npattern deny %u/#\n  # y\n",
            &mut report,
        );
        AclFile::parse(&copy).unwrap();
        assert!(copy.contains("topic readwrite a b\n") && copy.contains("user x\n"), "{copy}");
        let told = report.urgent();
        for place in ["acl:5: pattern read x%c", "acl:6: pattern deny %u/#", "acl:7:   # y"] {
            assert!(told.contains(place), "{place} is not in:\n{told}");
        }
        assert_eq!(report.count(), (3, 2));
    }

    #[test]
    fn a_denial_that_cannot_be_said_takes_away_more_rather_than_nothing() {
        let mut report = Report::default();
        let text =
            "pattern deny a/x%c/s\npattern read a/#\n  pattern  deny  %c/%u-/%c%u\npattern deny $x%c/s\npattern deny a/%c\n";
        let copy = rights("acl", text, &mut report);
        assert_eq!(
            copy,
            "pattern deny a/+/s\npattern read a/#\npattern deny %c/+/+\n# not taken over: pattern deny $x%c/s\npattern deny a/%c\n"
        );
        let rights = Authorizer::new(Some(Arc::new(AclFile::parse(&copy).unwrap())));
        let principal = Principal { client_id: "me".into(), username: None };
        let asker = Asker { principal: &principal, claim: Claim::None };
        let may_read = |topic: &str| rights.on_read(&asker, TopicName::new(topic).unwrap());
        assert!(!may_read("a/xme/s") && may_read("a/xme"));
        assert_eq!(report.count(), (4, 1));
        let told = report.urgent();
        assert!(told.contains("acl:1: pattern deny a/x%c/s\n      %c and %u are levels of their own here"), "{told}");
    }

    #[test]
    fn a_file_that_cannot_be_read_lets_nobody_in() {
        let (mut files, mut report) = (Files::default(), Report::default());
        assert_eq!(files.passwords(Path::new("/nonexistent/pw"), &mut report), "users");
        assert_eq!(files.passwords(Path::new("/nonexistent/pw"), &mut report), "users");
        assert_eq!(files.no_users(), "users-2");
        assert!(PasswordFile::parse(&files.written[0].text).unwrap().is_empty());
        assert!(report.urgent().contains("/nonexistent/pw"));
    }
}
