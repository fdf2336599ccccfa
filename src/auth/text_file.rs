use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Why a file that a person writes could not be taken in as text.
#[derive(Debug, thiserror::Error)]
pub enum TextFileError {
    #[error("{}: it cannot be read: {source}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: it is larger than {limit} bytes", .path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("{}:{line}: the line is not UTF-8", .path.display())]
    NotUtf8 { path: PathBuf, line: usize },
}

/// Reads at most `limit` bytes of UTF-8. The mark that some editors put in front (U+FEFF) is not part of the text.
pub(in crate::auth) fn read(path: &Path, limit: u64) -> Result<String, TextFileError> {
    let unreadable = |source| TextFileError::Unreadable { path: path.into(), source };
    let mut bytes = Vec::new();
    // One byte over the limit tells a file that is too large without trusting its size beforehand.
    File::open(path).map_err(unreadable)?.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(TextFileError::TooLarge { path: path.into(), limit });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        TextFileError::NotUtf8 { path: path.into(), line: 1 + valid.iter().filter(|&&byte| byte == b'\n').count() }
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_bytes(bytes: &[u8], limit: u64) -> Result<String, TextFileError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read(file.path(), limit)
    }

    #[test]
    fn a_file_of_exactly_the_limit_is_read_and_one_byte_more_is_refused() {
        assert_eq!(read_bytes(b"abcd", 4).unwrap(), "abcd");
        assert!(matches!(read_bytes(b"abcde", 4), Err(TextFileError::TooLarge { limit: 4, .. })));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_told_with_their_line() {
        assert!(matches!(read_bytes(b"a\nb\n\xff", 100), Err(TextFileError::NotUtf8 { line: 3, .. })));
    }

    #[test]
    fn the_byte_order_mark_is_no_text() {
        assert_eq!(read_bytes("\u{feff}a".as_bytes(), 100).unwrap(), "a");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("/nonexistent/passwords"), 1).unwrap_err();
        assert!(error.to_string().starts_with("/nonexistent/passwords: it cannot be read"), "{error}");
    }
}
