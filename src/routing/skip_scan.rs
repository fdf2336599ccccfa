//! Going through sorted topics for a filter without looking at all of them.

/// What a look at one topic says about the way on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It matches.
    Match,
    /// It does not; the very next one may.
    Next,
    /// It does not, and none does before the target.
    Seek,
    /// It does not, and none does after it.
    Done,
}

/// The character after the separator: `a0` is the first string after all that begin with `a/`.
const AFTER_SEPARATOR: char = '0';

/// The character after `$`.
const AFTER_DOLLAR: char = '%';

/// No topic that matches comes before this string: the filter up to its first wildcard.
pub(super) fn first(filter: &str) -> &str {
    match filter.find(['+', '#']) {
        // `a/#` matches `a`, which comes before `a/`.
        Some(place) if filter.ends_with("/#") && place == filter.len() - 1 => &filter[..place - 1],
        Some(place) => &filter[..place],
        None => filter,
    }
}

/// Compares one topic with a filter; for [`Step::Seek`], writes into `target` the string to seek, which comes after the topic.
pub(super) fn step(filter: &str, topic: &str, target: &mut String) -> Step {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return seek(target, "", AFTER_DOLLAR); // [MQTT-4.7.2-1]
    }
    let mut wanted_levels = filter.split('/').peekable();
    let mut start = Some(0); // where the topic's next level begins
    while let Some(wanted) = wanted_levels.next() {
        if wanted == "#" {
            return Step::Match;
        }
        let Some(begin) = start else { return Step::Next };
        let end = topic[begin..].find('/').map_or(topic.len(), |length| begin + length);
        if wanted != "+" && wanted != &topic[begin..end] {
            let following = wanted_levels.peek().copied();
            return differs(topic, &topic[..begin], wanted, following, target);
        }
        start = (end < topic.len()).then_some(end + 1);
    }
    match start {
        None => Step::Match,
        Some(begin) => seek(target, &topic[..begin - 1], AFTER_SEPARATOR), // past all that are longer
    }
}

/// The way on from a topic that has another level than `wanted` after `prefix`, which matched.
fn differs(topic: &str, prefix: &str, wanted: &str, following: Option<&str>, target: &mut String) -> Step {
    target.clear();
    target.push_str(prefix);
    target.push_str(wanted);
    if matches!(following, None | Some("#")) && target.as_str() > topic {
        return Step::Seek;
    }
    if following.is_some() {
        // Between `a` and `a/b` there may be an `a-b`.
        target.push('/');
        if target.as_str() > topic {
            return Step::Seek;
        }
    }
    match prefix.strip_suffix('/') {
        Some(parent) => seek(target, parent, AFTER_SEPARATOR),
        None => Step::Done,
    }
}

fn seek(target: &mut String, prefix: &str, next: char) -> Step {
    target.clear();
    target.push_str(prefix);
    target.push(next);
    Step::Seek
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(filter: &str, topic: &str) -> (Step, String) {
        let mut target = String::new();
        let step = step(filter, topic, &mut target);
        (step, if step == Step::Seek { target } else { String::new() })
    }

    #[test]
    fn branches_that_cannot_match_are_sought_past() {
        let seek = |target: &str| (Step::Seek, target.to_owned());
        assert_eq!(look("+/b/c", "x/a/q"), seek("x/b/"));
        assert_eq!(look("+/b", "x/a/q"), seek("x/b"));
        assert_eq!(look("+/b/#", "x/a/q"), seek("x/b"));
        assert_eq!(look("+/b/c", "x/b-c/q"), seek("x/b/"));
        assert_eq!(look("+/b", "x/c"), seek("x0"));
        assert_eq!(look("+/b", "x/b/c"), seek("x/b0"));
        assert_eq!(look("#", "$SYS/x"), seek("%"));
        assert_eq!(look("a/+", "b").0, Step::Done);
        assert_eq!(look("+/b", "x").0, Step::Next);
    }

    #[test]
    fn the_first_topic_that_can_match_begins_with_all_before_the_wildcard() {
        assert_eq!([first("a/b"), first("a/+/b"), first("a/b/#"), first("#"), first("/#")], ["a/b", "a/", "a/b", "", ""]);
    }
}
