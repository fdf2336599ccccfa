//! The lines one after the other, each to who knows it; then what they come to.

use std::collections::HashMap;

use super::bridge::{Bridge, NOTED, is_of_bridge};
use super::document::{Document, Table, commented};
use super::files::{Files, NewFile};
use super::global::Global;
use super::listener::{Listener, Surroundings, is_of_listener};
use super::options;
use super::report::{Report, Verdict};
use super::security::{Anonymous, Security, is_security};
use super::source::{self, Line};
use super::{MosquittoArgs, Version, locate};

/// What has been read so far.
pub(super) struct Reading<'a> {
    args: &'a MosquittoArgs,
    report: Report,
    global: Global,
    security: Security,
    listeners: Vec<Listener>,
    /// What `port` and `bind_address` speak of, and options above the first `listener` of their file.
    default_listener: Listener,
    /// What the lines of each file are about: what one file says last is nothing to another.
    subjects: HashMap<usize, Subject>,
    is_per_listener: bool,
    says_persistence: bool,
    bridges: Vec<Bridge>,
}

/// What the next line is about: places in the lists of [`Reading`], which only grow.
#[derive(Debug, Default)]
struct Subject {
    /// `None`: the default one.
    listener: Option<usize>,
    bridge: Option<usize>,
}

/// What is to be written.
pub(super) struct Imported {
    pub(super) config: String,
    /// Whether the config holds a password.
    pub(super) is_secret: bool,
    pub(super) files: Vec<NewFile>,
    pub(super) report: Report,
}

impl<'a> Reading<'a> {
    /// Reads the file that the arguments name.
    pub(super) fn of(args: &'a MosquittoArgs) -> Result<Self, String> {
        let (lines, unread) = source::read(&args.file, |path| locate(args, path))?;
        let mut reading = Self::new(args);
        for missed in unread {
            reading.report.line(&missed.line, Verdict::Wrong(missed.why));
        }
        lines.iter().for_each(|line| reading.line(line));
        Ok(reading)
    }

    fn new(args: &'a MosquittoArgs) -> Self {
        Self {
            args,
            report: Report::default(),
            global: Global::new(),
            security: Security::default(),
            listeners: Vec::new(),
            default_listener: Listener::default(),
            subjects: HashMap::new(),
            is_per_listener: false,
            says_persistence: false,
            bridges: Vec::new(),
        }
    }

    /// Every line gets a verdict, here and nowhere else.
    fn line(&mut self, line: &Line) {
        let verdict = self.take(line).unwrap_or_else(Verdict::Wrong);
        self.report.line(line, verdict);
    }

    fn take(&mut self, line: &Line) -> Result<Verdict, String> {
        let args = self.args;
        let at = |path: &str| locate(args, path);
        self.says_persistence |= line.key == "persistence";
        match line.key.as_str() {
            "include_dir" if line.source > 0 => Ok(Verdict::needless("mosquitto looks for it in its main file only")),
            "include_dir" => Ok(Verdict::needless("its files are read in its place; write what they say into one config")),
            "per_listener_settings" => {
                self.is_per_listener |= line.flag()?;
                Ok(Verdict::taken("users and rights per [[listeners]], or in [auth] for all"))
            }
            "listener" => self.take_listener(line),
            "port" => {
                self.default_listener.port = Some(port(line)?);
                Ok(self.take_place(line))
            }
            "bind_address" => {
                self.default_listener.host = Some(line.text()?.into());
                Ok(self.take_place(line))
            }
            "connection" => {
                self.bridges.push(Bridge::new(line)?);
                self.subjects.entry(line.source).or_default().bridge = Some(self.bridges.len() - 1);
                Ok(Verdict::dropped(NOTED))
            }
            "global_plugin" => self.security.take(line, "auth", at),
            key if is_security(key) && (self.is_per_listener || key.starts_with("listener_")) => {
                let listener = self.listener(line);
                listener.lines.push(line.clone());
                listener.security.take(line, "listeners", at)
            }
            key if is_security(key) => self.security.take(line, "auth", at),
            key if is_of_listener(key) => self.listener(line).take(line, at),
            key if is_of_bridge(key) => match self.bridge(line) {
                Some(bridge) => bridge.take(line),
                None => Err("it stands before the first connection of its file".into()),
            },
            key => Ok(self.global.take(line)?.unwrap_or_else(|| Verdict::Unknown(options::unknown(key)))),
        }
    }

    /// The listener that the line is about.
    fn listener(&mut self, line: &Line) -> &mut Listener {
        match self.subjects.get(&line.source).and_then(|subject| subject.listener) {
            Some(index) => &mut self.listeners[index],
            None => &mut self.default_listener,
        }
    }

    /// The bridge that the line is about.
    fn bridge(&mut self, line: &Line) -> Option<&mut Bridge> {
        let index = self.subjects.get(&line.source)?.bridge?;
        self.bridges.get_mut(index)
    }

    /// Where the default listener is. Other options go on being about the same listener as before.
    fn take_place(&mut self, line: &Line) -> Verdict {
        self.default_listener.comment = comment(line);
        self.default_listener.lines.push(line.clone());
        Verdict::taken("listeners.url")
    }

    fn take_listener(&mut self, line: &Line) -> Result<Verdict, String> {
        let port: u16 = line.word().parse().map_err(|_| format!("{:?} is no port", line.word()))?;
        let second = line.value.split_whitespace().nth(1).filter(|word| !word.starts_with('#'));
        let mut listener = Listener::new(comment(line));
        match (port, second) {
            (0, Some(path)) => listener.unix = Some(locate(self.args, path)),
            (0, None) => return Err("port 0 needs the path of a Unix socket behind it".into()),
            (port, host) => {
                listener.port = Some(port);
                listener.host = host.map(String::from);
            }
        }
        listener.lines.push(line.clone());
        self.listeners.push(listener);
        self.subjects.entry(line.source).or_default().listener = Some(self.listeners.len() - 1);
        Ok(Verdict::taken("listeners.url"))
    }

    /// What all of it comes to.
    pub(super) fn finish(mut self, args: &MosquittoArgs) -> Imported {
        let mut files = Files::default();
        let mut document = Document::default();
        document.table("").set(
            "data_dir",
            "data",
            "Sessions, what waits for them, and retained messages. mosquitto's own data is not read.",
        );
        self.global.write_log(&mut document);
        let is_local_only = self.settle_listeners();
        self.spread_plugin();
        self.write_listeners(&mut document, is_local_only, &mut files);
        if !self.is_per_listener {
            let anonymous = self.anonymous_by_default(is_local_only);
            self.security.write(document.table("[auth]"), anonymous, &mut files, &mut self.report);
        }
        self.notes();
        self.global.write(&mut document);
        let is_secret = self.bridges.iter().any(Bridge::is_secret);
        let config = format!("{}{}{}{}", head(args), document.text(), bridges(&self.bridges), not_taken(&self.report));
        Imported { config, is_secret, files: files.written, report: self.report }
    }

    /// Puts the default listener among the others where mosquitto would open it; whether that is for this machine only.
    fn settle_listeners(&mut self) -> bool {
        let default = std::mem::take(&mut self.default_listener);
        let is_said = !self.listeners.is_empty() || default.port.is_some() || default.host.is_some();
        if default.is_meant() || self.listeners.is_empty() {
            self.listeners.insert(0, default);
        } else {
            let why =
                "it is about mosquitto's default listener, which this config does not open: it holds nowhere, there as here";
            self.report.revise(&default.lines, &Verdict::needless(why));
        }
        let is_local_only = !is_said && self.args.mosquitto == Version::Two;
        if is_local_only {
            self.report.note(
                "there is no listener: mosquitto 2 then serves this machine only, on port 1883 of 127.0.0.1 and ::1, and lets anonymous \
                 clients in; so does the result, on 127.0.0.1",
            );
        }
        is_local_only
    }

    /// A plugin of the whole broker decides at listeners with settings of their own, too.
    fn spread_plugin(&mut self) {
        if self.is_per_listener {
            for listener in &mut self.listeners {
                listener.security.inherit_plugin(&self.security);
            }
        }
    }

    fn write_listeners(&mut self, document: &mut Document, is_local_only: bool, files: &mut Files) {
        let anonymous = self.anonymous_by_default(is_local_only);
        let mut names: Vec<String> = Vec::new();
        for listener in std::mem::take(&mut self.listeners) {
            let name = free_name(&listener.name(), &names);
            if let Some(why) = listener.refusal() {
                self.report.note(format!("listener {name} {why}: it is left out"));
                self.report.revise(&listener.lines, &Verdict::dropped(format!("its listener is left out, since it {why}")));
                continue;
            }
            let own_security = self.is_per_listener.then_some(anonymous);
            let around = Surroundings { websocket_path: &self.args.websocket_path, is_local: is_local_only, own_security };
            listener.note(&name, &around, &mut self.report);
            listener.write(&name, &around, files, &mut self.report).into_iter().for_each(|table| document.push(table));
            names.push(name);
        }
        if names.is_empty() {
            self.report.note("no listener is left; one on 127.0.0.1:1883 that lets nobody in stands in their place");
            let mut table = Table::new("[[listeners]]");
            table.set("name", "tcp", "In place of listeners that cannot be had here.");
            table.set("url", "tcp://127.0.0.1:1883", "");
            table.set("allow_anonymous", false, "");
            document.push(table);
        }
    }

    /// What mosquitto does with clients without a user name where the config does not say it.
    const fn anonymous_by_default(&self, is_local_only: bool) -> Anonymous {
        match self.args.mosquitto {
            Version::Two if is_local_only => Anonymous::Always,
            Version::Two => Anonymous::Never,
            Version::One => Anonymous::WithoutUsers,
        }
    }

    fn notes(&mut self) {
        if !self.says_persistence {
            self.report.note(
                "persistence is not set: mosquitto then forgets sessions and retained messages at its end, Dunlin keeps them; [durability] \
                 level = \"memory\" forgets them",
            );
        }
        self.report.note(
            "what mosquitto leaves without a bound has one here, such as subscriptions of a session, levels of a topic, retained messages: see \
             [limits] in Dunlin's own dunlin.toml",
        );
        self.report.note("bring retained messages over by subscribing to mosquitto with # and publishing to Dunlin with -r");
    }
}

fn comment(line: &Line) -> String {
    format!("{}: {line}", line.place())
}

fn port(line: &Line) -> Result<u16, String> {
    line.word().parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("{:?} is no port", line.word()))
}

fn free_name(name: &str, taken: &[String]) -> String {
    let mut names = std::iter::once(name.to_owned()).chain((2..).map(|number| format!("{name}-{number}")));
    names.find(|name| !taken.contains(name)).expect("numbers do not end")
}

fn head(args: &MosquittoArgs) -> String {
    let source = commented(&format!("Made by dunlin import mosquitto from {}.", args.file.display()));
    format!(
        "{source}# import-report.txt tells of every line what became of it; the keys are explained in Dunlin's own dunlin.toml.\n\n"
    )
}

fn bridges(bridges: &[Bridge]) -> String {
    bridges.iter().map(Bridge::text).collect()
}

fn not_taken(report: &Report) -> String {
    let mut text = String::new();
    for entry in report.lost() {
        text.push_str(&commented(&format!("{}: {}\n    {}", entry.place, entry.text, entry.verdict)));
    }
    if text.is_empty() { text } else { format!("\n# Not taken over:\n#\n{text}") }
}
