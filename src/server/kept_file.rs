//! Small files of the data directory that are replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Puts `content` in the place of `folder/name`, readable by this user only. What was there is there until all of it is; returns when it
/// survives a power cut.
pub fn replace(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let beside = folder.join(format!(".{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// Removes `folder/name` if it is there; returns when that survives a power cut.
pub fn remove(folder: &Path, name: &str) -> io::Result<()> {
    match fs::remove_file(folder.join(name)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => File::open(folder)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_removed_and_nothing_stays_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        for content in ["first, longer", "second"] {
            replace(folder.path(), "kept", content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(folder.path().join("kept")).unwrap(), content);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        remove(folder.path(), "kept").unwrap();
        remove(folder.path(), "kept").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(replace(&folder.path().join("nowhere"), "kept", b"").is_err());
    }
}
