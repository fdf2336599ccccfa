//! Lists in pages, in the order of a key, picked out of what is walked in no order: memory for one page, not for the whole.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::admin::problem::Problem;

/// Entries of a page where none is asked for, and at most.
pub const LIMIT_DEFAULT: usize = 100;
pub const LIMIT_MAX: usize = 1000;
/// How far into a list a page may reach; further on there are cursors, which cost the same anywhere.
pub const REACH: usize = 100_000;
/// Bytes of a key that a cursor holds: what is asked with it must fit into a request.
const KEY_MAX: usize = 40_000;

/// Which piece of a list is wanted.
#[derive(Clone, Debug)]
pub struct Page {
    pub page: usize,
    pub limit: usize,
    /// The key behind which to go on, or, where that was too long, its beginning: then the page does not count.
    pub after: Option<Box<str>>,
    /// Entries that begin with `after` and were on pages before; 0 where it is whole.
    shown: usize,
}

/// What a list says of itself.
#[derive(Clone, Debug, Serialize)]
pub struct Meta {
    pub page: usize,
    pub limit: usize,
    /// Entries of the whole list; left out where that is not known without walking all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    pub hasnext: bool,
    /// Where the next page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl Page {
    pub fn new(page: usize, limit: usize, cursor: Option<&str>) -> Result<Self, Problem> {
        let Some(cursor) = cursor else { return Ok(Self { page, limit, after: None, shown: 0 }) };
        let unknown = || Problem::bad_request("cursor: it is none of ours");
        let (key, shown) = match cursor.split_once('.') {
            None => (cursor, 0),
            Some((key, shown)) => (key, shown.parse().ok().filter(|shown| (1..=REACH).contains(shown)).ok_or_else(unknown)?),
        };
        let key = URL_SAFE_NO_PAD.decode(key).ok().and_then(|key| String::from_utf8(key).ok()).ok_or_else(unknown)?;
        Ok(Self { page, limit, after: Some(key.into()), shown })
    }

    /// Entries to pass over before the page, of those that are not behind its cursor.
    pub fn skip(&self) -> usize {
        if self.after.is_some() { self.shown } else { (self.page - 1) * self.limit }
    }

    /// Whether an entry is behind the cursor.
    pub fn has_passed(&self, key: &str) -> bool {
        self.after.as_deref().is_some_and(|after| key < after || (key == after && self.shown == 0))
    }

    /// Where the page behind this one begins, whose entries have these keys.
    pub fn cursor(&self, keys: &[impl AsRef<str>]) -> Option<String> {
        let last = keys.last()?.as_ref();
        let end = (0..=KEY_MAX.min(last.len())).rev().find(|end| last.is_char_boundary(*end)).unwrap_or(0);
        let beginning = &last[..end];
        if end == last.len() {
            return Some(URL_SAFE_NO_PAD.encode(last));
        }
        let alike = keys.iter().rev().take_while(|key| key.as_ref().starts_with(beginning)).count();
        let before = if self.after.as_deref() == Some(beginning) { self.shown } else { 0 };
        Some(format!("{}.{}", URL_SAFE_NO_PAD.encode(beginning), before + alike))
    }

    pub fn meta(&self, count: Option<usize>, hasnext: bool, cursor: Option<String>) -> Meta {
        Meta { page: self.page, limit: self.limit, count, hasnext, cursor: cursor.filter(|_| hasnext) }
    }

    /// The page of a list that is there as a whole, in order.
    pub fn of<T>(&self, all: Vec<T>, key: impl Fn(&T) -> String) -> (Vec<T>, Meta) {
        let mut selection = Selection::new(self);
        for entry in all {
            selection.offer(&key(&entry), || entry);
        }
        selection.finish()
    }
}

/// Finds the entries of one page among many, by the smallest keys.
pub struct Selection<T> {
    page: Page,
    kept: BTreeMap<Box<str>, T>,
    kept_max: usize,
    offered: usize,
}

impl<T> Selection<T> {
    pub fn new(page: &Page) -> Self {
        // One more tells whether there is a next page.
        Self { page: page.clone(), kept: BTreeMap::new(), kept_max: page.skip() + page.limit + 1, offered: 0 }
    }

    /// Takes an entry in if it may be on the page. Keys are distinct.
    pub fn offer(&mut self, key: &str, make: impl FnOnce() -> T) {
        self.offered += 1;
        self.merge(key, make, |_| {});
    }

    /// The same for a key that may come more than once: `merge` changes the entry that is there, if it is. Such lists have no count.
    pub fn merge(&mut self, key: &str, make: impl FnOnce() -> T, merge: impl FnOnce(&mut T)) {
        if self.page.has_passed(key) {
            return;
        }
        let is_full = self.kept.len() >= self.kept_max;
        if is_full && self.kept.last_key_value().is_some_and(|(last, _)| **last < *key) {
            return;
        }
        if let Some(there) = self.kept.get_mut(key) {
            return merge(there);
        }
        if is_full {
            self.kept.pop_last();
        }
        self.kept.insert(key.into(), make());
    }

    /// The page, in order.
    pub fn finish(self) -> (Vec<T>, Meta) {
        let hasnext = self.kept.len() >= self.kept_max;
        let is_whole = !hasnext && self.page.after.is_none();
        let count = if self.offered > 0 { Some(self.offered) } else { is_whole.then_some(self.kept.len()) };
        let (keys, data): (Vec<_>, Vec<_>) = self.kept.into_iter().skip(self.page.skip()).take(self.page.limit).unzip();
        let meta = self.page.meta(count, hasnext, self.page.cursor(&keys));
        (data, meta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(page: &Page, keys: &[u32]) -> (Vec<u32>, Meta) {
        let mut selection = Selection::new(page);
        for key in keys {
            selection.offer(&format!("{key:03}"), || *key);
        }
        selection.finish()
    }

    #[test]
    fn pages_and_cursors_walk_the_whole_list_once() {
        let keys: Vec<u32> = (0..25).map(|n| n * 7 % 25).collect();
        let expected: Vec<u32> = (0..25).collect();
        let (mut by_page, mut by_cursor, mut cursor) = (Vec::new(), Vec::new(), None);
        for page in 1..=3 {
            let (data, meta) = list(&Page::new(page, 10, None).unwrap(), &keys);
            assert_eq!((meta.count, meta.hasnext), (Some(25), page < 3));
            by_page.extend(data);
            let (data, meta) = list(&Page::new(1, 10, cursor.as_deref()).unwrap(), &keys);
            by_cursor.extend(data);
            cursor = meta.cursor;
        }
        assert_eq!((by_page, by_cursor, cursor), (expected.clone(), expected, None));
        assert!(list(&Page::new(4, 10, None).unwrap(), &keys).0.is_empty());
    }

    #[test]
    fn no_more_than_the_page_is_kept() {
        let mut selection = Selection::new(&Page::new(2, 10, None).unwrap());
        for n in (0..10_000).rev() {
            selection.offer(&format!("{n:05}"), || n);
            assert!(selection.kept.len() <= 21);
        }
        assert_eq!(selection.finish().0, (10..20).collect::<Vec<_>>());
    }

    #[test]
    fn entries_of_one_key_are_one_entry() {
        let mut selection = Selection::new(&Page::new(1, 2, None).unwrap());
        for key in ["c", "a", "b", "a", "c", "a", "d"] {
            selection.merge(key, || (key, 1), |(_, count)| *count += 1);
        }
        let (data, meta) = selection.finish();
        assert_eq!((data, meta.hasnext, meta.count), (vec![("a", 3), ("b", 1)], true, None));
    }

    /// Topics may have 64 KiB, and the head of a request has to take the cursor.
    #[test]
    fn keys_too_long_for_a_cursor_are_passed_one_by_one() {
        let long = "ü".repeat(KEY_MAX / 2 + 1);
        let keys: Vec<String> = (0..7).map(|n| format!("{long}{n}")).chain(["a".into(), "z".into()]).collect();
        let (mut found, mut cursor): (Vec<String>, Option<String>) = (Vec::new(), None);
        loop {
            let mut selection = Selection::new(&Page::new(1, 2, cursor.as_deref()).unwrap());
            keys.iter().rev().for_each(|key| selection.offer(key, || key.clone()));
            let (data, meta) = selection.finish();
            found.extend(data);
            cursor = meta.cursor;
            match &cursor {
                Some(cursor) => assert!(cursor.len() < 60_000),
                None => break,
            }
        }
        let mut expected = keys;
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_cursor_that_is_none_is_told() {
        for wrong in ["!", "YQ.", "YQ.0", "YQ.x", "YQ.99999999"] {
            assert!(Page::new(1, 1, Some(wrong)).is_err(), "{wrong}");
        }
    }
}
