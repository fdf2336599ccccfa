//! Who may in, and what they may do: the options that stand for the whole broker, or with `per_listener_settings` for one listener.

use std::path::{Path, PathBuf};

use super::document::Table;
use super::files::Files;
use super::report::{Report, Verdict};
use super::source::Line;

#[derive(Debug, Default)]
pub(super) struct Security {
    allow_anonymous: Option<(bool, String)>,
    password_file: Option<(PathBuf, String)>,
    acl_file: Option<(PathBuf, String)>,
    /// The first plugin that may decide about users and rights.
    plugin: Option<String>,
    /// Whether there is any plugin.
    has_plugin: bool,
    has_psk: bool,
    /// Whether clients must bring an identifier.
    needs_identifier: bool,
}

/// Whether clients without a user name are let in where nothing is said of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anonymous {
    /// mosquitto 2 without a listener.
    Always,
    /// mosquitto 2 with one.
    Never,
    /// mosquitto 1.
    WithoutUsers,
}

/// The options of this room, for who has to find where they belong.
pub(super) fn is_security(key: &str) -> bool {
    matches!(
        key,
        "allow_anonymous"
            | "listener_allow_anonymous"
            | "password_file"
            | "acl_file"
            | "auth_plugin"
            | "plugin"
            | "plugin_load"
            | "plugin_use"
            | "global_plugin"
            | "auth_plugin_deny_special_chars"
            | "psk_file"
            | "allow_zero_length_clientid"
            | "auto_id_prefix"
            | "listener_auto_id_prefix"
    ) || key.starts_with("auth_opt_")
        || key.starts_with("plugin_opt_")
}

impl Security {
    /// Takes a line for which [`is_security`] holds. `in_table` is where its keys are: `auth`, or `listeners`.
    pub(super) fn take(&mut self, line: &Line, in_table: &str, locate: impl Fn(&str) -> PathBuf) -> Result<Verdict, String> {
        let comment = format!("{}: {line}", line.place());
        Ok(match line.key.as_str() {
            "allow_anonymous" | "listener_allow_anonymous" => {
                self.allow_anonymous = Some((line.flag()?, comment));
                Verdict::taken(format!("{in_table}.allow_anonymous"))
            }
            "password_file" => {
                self.password_file = Some((locate(line.text()?), comment));
                Verdict::taken(format!("{in_table}.password_file, a copy"))
            }
            "acl_file" => {
                self.acl_file = Some((locate(line.text()?), comment));
                let how =
                    "a copy; a subscription under which nothing may be read is refused, rather than granted and never served";
                Verdict::differs(&format!("{in_table}.acl_file"), how)
            }
            // What go-auth reads with its files backend has the format of an ACL file.
            "auth_opt_files_acl_path" => {
                self.acl_file = Some((locate(line.text()?), comment));
                Verdict::taken(format!("{in_table}.acl_file, a copy"))
            }
            "auth_plugin" | "plugin" | "plugin_load" | "plugin_use" | "global_plugin" => self.plugin(line)?,
            "auth_opt_files_password_path" => {
                Verdict::dropped("the plugin hashes in a way of its own; give its users new passwords with `dunlin passwd`")
            }
            "psk_file" => {
                self.has_psk = true;
                Verdict::dropped("there is no TLS with pre-shared keys here; use certificates, or SCRAM over TLS")
            }
            "allow_zero_length_clientid" => {
                self.needs_identifier = !line.flag()?;
                if self.needs_identifier {
                    Verdict::dropped("clients of 3.1.1 and 5.0 without an identifier are let in, and are given one")
                } else {
                    Verdict::needless("clients without an identifier are given one")
                }
            }
            "auto_id_prefix" | "listener_auto_id_prefix" => {
                Verdict::dropped("assigned client identifiers have no prefix of one's own")
            }
            _ => Verdict::dropped("an option of a plugin; mosquitto's plugins do not run here"),
        })
    }

    fn plugin(&mut self, line: &Line) -> Result<Verdict, String> {
        let plugin = line.text()?;
        self.has_plugin = true;
        // The folders say nothing of what it does.
        let name = Path::new(plugin).file_name().unwrap_or_default().to_string_lossy();
        if name.contains("persist") {
            return Ok(Verdict::needless("sessions and messages are stored anyway, see [durability]"));
        }
        self.plugin.get_or_insert_with(|| plugin.into());
        Ok(Verdict::dropped(
            "mosquitto's plugins do not run here. If it knew users or rights: those are not taken over, and until `dunlin passwd` adds \
             users and the ACL file grants something, it lets nobody in and grants nothing",
        ))
    }

    /// A plugin that decides at all listeners does so at one with its own settings, too.
    pub(super) fn inherit_plugin(&mut self, all: &Self) {
        if self.plugin.is_none() {
            self.plugin.clone_from(&all.plugin);
        }
    }

    /// Whether mosquitto opens its default listener for this. Neither an ACL file nor a word about anonymous clients does that.
    pub(super) const fn opens_default(&self) -> bool {
        self.password_file.is_some() || self.has_plugin || self.has_psk || self.needs_identifier
    }

    fn lets_anonymous_in(&self, unless_said: Anonymous) -> bool {
        let by_default = match unless_said {
            Anonymous::Always => true,
            Anonymous::Never => false,
            Anonymous::WithoutUsers => self.password_file.is_none() && self.plugin.is_none(),
        };
        self.allow_anonymous.as_ref().map_or(by_default, |(allow, _)| *allow)
    }

    /// Sets what was said of anonymous clients, and nothing else.
    pub(super) fn write_anonymous(&self, table: &mut Table) {
        if let Some((allow, comment)) = &self.allow_anonymous {
            table.set("allow_anonymous", *allow, comment);
        }
    }

    /// Sets the keys. Whatever was said of anonymous clients, the result says it in so many words.
    pub(super) fn write(&self, table: &mut Table, unless_said: Anonymous, files: &mut Files, report: &mut Report) {
        let lets_anonymous_in = self.lets_anonymous_in(unless_said);
        table.set("allow_anonymous", lets_anonymous_in, "As mosquitto does when nothing is said of it.");
        self.write_anonymous(table);
        let from_plugin = self.plugin.as_ref().map(|plugin| format!("In place of the plugin {plugin}."));
        match (&self.password_file, &from_plugin) {
            (Some((path, comment)), _) => table.set("password_file", files.passwords(path, report), comment),
            (None, Some(comment)) => table.set("password_file", files.no_users(), comment),
            (None, None) => {}
        }
        match (&self.acl_file, &from_plugin) {
            (Some((path, comment)), _) => table.set("acl_file", files.rights(path, report), comment),
            (None, Some(comment)) => table.set("acl_file", files.no_rights(), comment),
            (None, None) => {}
        }
        if lets_anonymous_in && self.acl_file.is_some() && self.password_file.is_none() {
            report.note(
                "anonymous clients are let in, there is an ACL file and no password file: mosquitto gives a client the rights of \
                 whatever user name it sends; here a name that nothing proves does not count, and the lines above the first `user` hold",
            );
        }
    }
}
