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

/// Which piece of a list is wanted.
#[derive(Clone, Debug)]
pub struct Page {
    pub page: usize,
    pub limit: usize,
    /// The key behind which to go on: then the page does not count.
    pub after: Option<Box<str>>,
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
        let read = |cursor| String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok();
        let after = cursor.map(|cursor| read(cursor).ok_or_else(|| Problem::bad_request("cursor: it is none of ours")));
        Ok(Self { page, limit, after: after.transpose()?.map(Into::into) })
    }

    /// Entries before the page.
    pub fn skip(&self) -> usize {
        if self.after.is_some() { 0 } else { (self.page - 1) * self.limit }
    }

    /// `last` is the key of the last entry that is shown.
    pub fn meta(&self, count: Option<usize>, hasnext: bool, last: Option<&str>) -> Meta {
        let cursor = last.filter(|_| hasnext).map(|last| URL_SAFE_NO_PAD.encode(last));
        Meta { page: self.page, limit: self.limit, count, hasnext, cursor }
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
        if self.page.after.as_deref().is_some_and(|after| key <= after) {
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
        let meta = self.page.meta(count, hasnext, keys.last().map(|key| &**key));
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

    #[test]
    fn a_cursor_that_is_none_is_told() {
        assert!(Page::new(1, 1, Some("!")).is_err());
    }
}
