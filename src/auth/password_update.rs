use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::password_file::{check_user_name, read_text, split_line};

/// What [`update_password_file`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Added,
    Replaced,
    Deleted,
}

/// Sets a user's hash, or takes the user out where it is `None`; all other lines stay as they are, comments and mistakes too. A file
/// that is not there is made.
///
/// The new file is written beside the old one and renamed over it, so that a reader sees one or the other. A new file is for its owner
/// only (0600), who is the folder's if root makes it; in a folder of root's that one group may read, that group may read it too (0640).
/// An existing one keeps owner, group and the group's rights, and loses those of all others.
///
/// `InvalidInput` for a user name that no file can hold, `NotFound` for a user to be taken out who is not there.
pub fn update_password_file(path: &Path, user: &str, hash: Option<&str>) -> io::Result<Change> {
    check_user_name(user).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    rewrite(path, |text| {
        let (text, change) = edit(text, user, hash);
        Some((text, change?))
    })?
    .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no user {user:?}")))
}

/// Puts a new text in the place of a file's, as told above; `None`, and nothing is written, where `edit` gives none.
pub(super) fn rewrite<T>(path: &Path, edit: impl FnOnce(&str) -> Option<(String, T)>) -> io::Result<Option<T>> {
    let path = match fs::canonicalize(path) {
        Ok(path) => path, // through a symbolic link, which the rename would replace
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let _lock = lock_folder(&path)?;
    let exists = path.try_exists()?;
    let text = if exists { read_text(&path).map_err(io::Error::other)? } else { String::new() };
    let Some((text, change)) = edit(&text) else { return Ok(None) };
    replace(&path, &text, exists)?;
    Ok(Some(change))
}

/// How often, and how long each time, others are waited for who change files of the folder: ten seconds.
const LOCK_TRIES: usize = 1000;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Others wait as long as this lives: of two that read the file before either has written it, one's change would be lost. Not the file is
/// locked but its folder, since each change makes a new file. A file system that cannot lock a folder has done what it can.
fn lock_folder(path: &Path) -> io::Result<Option<File>> {
    let Ok(folder) = File::open(parent(path)) else { return Ok(None) };
    for _ in 0..LOCK_TRIES {
        match folder.try_lock() {
            Ok(()) => return Ok(Some(folder)),
            Err(TryLockError::Error(_)) => return Ok(None),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
        }
    }
    let told = format!("somebody else holds a lock on the folder {}", parent(path).display());
    Err(io::Error::new(io::ErrorKind::WouldBlock, told))
}

/// The text with the user's line set or taken out; `None` if there was nothing to take out.
fn edit(text: &str, user: &str, hash: Option<&str>) -> (String, Option<Change>) {
    let mut edited = String::with_capacity(text.len() + 256);
    let mut found = false;
    for line in text.split_inclusive('\n') {
        if !matches!(split_line(line), Ok(Some((name, _))) if name == user) {
            edited.push_str(line);
            continue;
        }
        if let Some(hash) = hash.filter(|_| !found) {
            push_line(&mut edited, user, hash);
        }
        found = true;
    }
    let change = match (hash, found) {
        (Some(hash), false) => {
            if !edited.is_empty() && !edited.ends_with('\n') {
                edited.push('\n');
            }
            push_line(&mut edited, user, hash);
            Some(Change::Added)
        }
        (Some(_), true) => Some(Change::Replaced),
        (None, true) => Some(Change::Deleted),
        (None, false) => None,
    };
    (edited, change)
}

fn push_line(text: &mut String, user: &str, hash: &str) {
    text.extend([user, ":", hash, "\n"]);
}

/// Writes the text to a file beside and renames it over `path`.
fn replace(path: &Path, text: &str, exists: bool) -> io::Result<()> {
    let beside = name_beside(path)?;
    let result = write_new(&beside, text, exists.then_some(path)).and_then(|()| fs::rename(&beside, path));
    if result.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&beside);
        return result;
    }
    // The rename itself must survive a power cut; a file system that cannot sync a directory has done what it can.
    let _ = File::open(parent(path)).and_then(|directory| directory.sync_all());
    Ok(())
}

fn write_new(path: &Path, text: &str, like: Option<&Path>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    if let Some(old) = like {
        let (old, new) = (fs::metadata(old)?, file.metadata()?);
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            // Else the broker could not read what root has written.
            fchown(&file, Some(old.uid()), Some(old.gid()))
                .map_err(|error| io::Error::new(error.kind(), format!("the file's owner and group cannot be kept: {error}")))?;
        }
        file.set_permissions(fs::Permissions::from_mode(0o600 | old.mode() & 0o060))?;
    } else {
        give_to_owner_of(parent(path), &file);
        if is_of_a_service(&fs::metadata(parent(path))?) {
            file.set_permissions(fs::Permissions::from_mode(0o640))?;
        }
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Whether a folder is root's and for one group to read, as /etc/dunlin of the package is: so is what root makes in it.
fn is_of_a_service(folder: &fs::Metadata) -> bool {
    folder.uid() == 0 && folder.gid() != 0 && folder.mode() & 0o077 == 0o050
}

/// Gives a new file to the owner and the group of its folder, if we may, as root does: else the broker, which is another user, could not
/// open it.
pub fn give_to_owner_of(folder: &Path, file: &File) {
    if let Ok(owner) = fs::metadata(folder) {
        // Who may not is not root: what it makes is its own.
        let _ = fchown(file, Some(owner.uid()), Some(owner.gid()));
    }
}

fn name_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{:016x}", rand::random::<u64>()));
    Ok(path.with_file_name(beside))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password_file::tests::FILE;
    use crate::auth::{Kind, PasswordFile, hash_password};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_user_is_added_replaced_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwords");
        let first = hash_password(b"one", Kind::ScramSha256).unwrap();
        assert_eq!(update_password_file(&path, "dave", Some(&first)).unwrap(), Change::Added);
        assert_eq!(mode(&path), 0o600);
        assert!(PasswordFile::load(&path).unwrap().verify("dave", b"one"));

        let second = hash_password(b"two", Kind::ScramSha256).unwrap();
        assert_eq!(update_password_file(&path, "dave", Some(&second)).unwrap(), Change::Replaced);
        let file = PasswordFile::load(&path).unwrap();
        assert!(file.verify("dave", b"two") && !file.verify("dave", b"one"));

        assert_eq!(update_password_file(&path, "dave", None).unwrap(), Change::Deleted);
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        assert_eq!(update_password_file(&path, "dave", None).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside");
    }

    #[test]
    fn comments_order_and_other_lines_stay() {
        let (edited, change) = edit(FILE, "bob", Some("HASH"));
        assert_eq!(change, Some(Change::Replaced));
        let lines = |text: &str| text.lines().filter(|line| !line.starts_with("bob:")).map(String::from).collect::<Vec<_>>();
        assert_eq!(lines(&edited), lines(FILE));
        assert_eq!(edited.lines().nth(2), Some("bob:HASH"));
        assert_eq!(edit("a mistake\nx:1\r\ny:2", "z", Some("3")).0, "a mistake\nx:1\r\ny:2\nz:3\n");
        assert_eq!(edit("x:1\ny:2\nx:3\n", "x", Some("4")).0, "x:4\ny:2\n");
        assert_eq!(edit("#x:1\nx:2", "x", None).0, "#x:1\n");
    }

    #[test]
    fn an_existing_file_keeps_its_group_rights_and_loses_those_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwords");
        fs::write(&path, FILE).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        update_password_file(&path, "dave", Some("HASH")).unwrap();
        assert_eq!(mode(&path), 0o640);
    }

    #[test]
    fn a_symbolic_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("passwords"), folder.path().join("link"));
        fs::write(&path, FILE).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        update_password_file(&link, "dave", Some("HASH")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&path).unwrap().ends_with("\ndave:HASH\n"));
    }

    #[test]
    fn of_changes_at_the_same_time_none_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwords");
        thread::scope(|scope| {
            for thread in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    for user in 0..8 {
                        update_password_file(path, &format!("{thread}-{user}"), Some("HASH")).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 64);
    }

    #[test]
    fn what_root_makes_belongs_to_the_owner_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        if std::os::unix::fs::chown(folder.path(), Some(12_345), Some(12_346)).is_err() {
            return; // Only root gives folders away.
        }
        let path = folder.path().join("passwords");
        for user in ["ada", "dave"] {
            update_password_file(&path, user, Some("HASH")).unwrap();
            let made = fs::metadata(&path).unwrap();
            assert_eq!((made.uid(), made.gid(), mode(&path)), (12_345, 12_346, 0o600));
        }
    }

    #[test]
    fn what_root_makes_for_a_service_its_group_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwords");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).unwrap();
        if std::os::unix::fs::chown(folder.path(), Some(0), Some(12_346)).is_err() {
            return; // Only root gives folders away.
        }
        for user in ["ada", "dave"] {
            update_password_file(&path, user, Some("HASH")).unwrap();
            let made = fs::metadata(&path).unwrap();
            assert_eq!((made.uid(), made.gid(), mode(&path)), (0, 12_346, 0o640));
        }
    }

    #[test]
    fn a_user_name_that_would_break_the_file_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwords");
        for name in ["", "a:b", "a\nroot", "#a"] {
            assert_eq!(update_password_file(&path, name, Some("HASH")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        assert!(!path.exists());
    }
}
