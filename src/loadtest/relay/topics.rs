//! Whether a filter matches a topic.

/// Neither is checked: both are the load tester's own.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    let mut topic = topic.split('/');
    let mut filter = filter.split('/');
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some(wanted), Some(level)) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn filters_match_as_in_mqtt() {
        for (filter, topic) in [("a/b", "a/b"), ("a/+", "a/b"), ("a/#", "a"), ("a/#", "a/b/c"), ("#", "x"), ("+/b", "é/b")] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [("a/b", "a/c"), ("a/+", "a"), ("a/+", "a/b/c"), ("a", "a/b"), ("a/b", "a")] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }
}
