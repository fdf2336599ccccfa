use proptest::prelude::*;

use super::*;
use crate::auth::hook::{Answering, LoginAnswer, LoginQuestion, RightAnswer, RightQuestion};

const FILE: &str = "\
# anonymous clients
topic read news/#
topic write guests/+

user alice
topic readwrite alice/#
topic deny alice/private/#
topic read $SYS/#
topic write $SYS/#
topic read with spaces/a b
topic both

user bob
topic read #

pattern write sensor/%c/data
pattern readwrite home/%u/#
pattern read public/#

user alice
topic read later/+
";

fn who(client_id: &str, username: &str) -> Principal {
    Principal { client_id: client_id.into(), username: (!username.is_empty()).then(|| username.into()) }
}

fn authorizer(file: &str) -> Authorizer {
    Authorizer::new(Some(Arc::new(AclFile::parse(file).unwrap())))
}

fn may_read(authorizer: &Authorizer, who: &Principal, topic: &str) -> bool {
    authorizer.may_read(who, TopicName::new(topic).unwrap())
}

fn may_publish(authorizer: &Authorizer, who: &Principal, topic: &str) -> bool {
    authorizer.may_publish(who, TopicName::new(topic).unwrap())
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

#[test]
fn the_table_of_rights() {
    let authorizer = authorizer(FILE);
    for (client_id, username, topic, read, write) in [
        ("c", "", "news", true, false),
        ("c", "", "news/a/b", true, false),
        ("c", "", "guests/c", false, true),
        ("c", "", "guests/c/d", false, false),
        ("c", "", "alice/a", false, false),
        ("c", "alice", "news/a", false, false), // lines above the first user are for anonymous clients
        ("c", "alice", "alice", true, true),
        ("c", "alice", "alice/a", true, true),
        ("c", "alice", "alice/private", false, false),
        ("c", "alice", "alice/private/x", false, false),
        ("c", "alice", "with spaces/a b", true, false),
        ("c", "alice", "both", true, true),
        ("c", "alice", "later/x", true, false), // a user may have several blocks
        ("c", "alice", "$SYS/broker/uptime", true, false),
        ("c", "bob", "anything", true, false),
        ("c", "bob", "$SYS/broker/uptime", false, false), // `#` does not reach $ topics
        ("c", "bob", "home/bob/lamp", true, true),
        ("c", "bob", "home/alice/lamp", true, false),
        ("c", "", "sensor/c/data", false, true),
        ("c", "", "sensor/d/data", false, false),
        ("c", "", "home//lamp", false, false),
        ("c", "carol", "public/x", true, false),
        ("c", "carol", "sensor/c/data", false, true),
        ("c", "carol", "home/carol", true, true),
        ("c", "Alice", "alice/a", false, false),
    ] {
        let who = who(client_id, username);
        assert_eq!(may_read(&authorizer, &who, topic), read, "{who:?} reads {topic}");
        assert_eq!(may_publish(&authorizer, &who, topic), write, "{who:?} writes {topic}");
    }
}

#[test]
fn an_empty_file_denies_everything() {
    let authorizer = authorizer("");
    let who = who("c", "alice");
    assert!(!authorizer.is_unrestricted());
    assert!(!may_read(&authorizer, &who, "a") && !may_publish(&authorizer, &who, "a"));
    assert!(!authorizer.may_subscribe(&who, &filter("#")) && !authorizer.covers(&who, &filter("a")));
}

#[test]
fn without_a_file_everything_but_writing_to_sys_is_allowed() {
    let authorizer = Authorizer::new(None);
    let who = who("c", "");
    assert!(authorizer.is_unrestricted());
    assert!(
        may_read(&authorizer, &who, "$SYS/x") && may_publish(&authorizer, &who, "a") && may_publish(&authorizer, &who, "$SYSx")
    );
    assert!(authorizer.may_subscribe(&who, &filter("#")) && authorizer.covers(&who, &filter("$SYS/#")));
    assert!(!may_publish(&authorizer, &who, "$SYS") && !may_publish(&authorizer, &who, "$SYS/broker/uptime"));
}

#[test]
fn a_deny_wins_wherever_it_stands() {
    for file in [
        "user u\ntopic deny a/b\ntopic a/#",
        "user u\ntopic a/#\ntopic deny a/b",
        "user u\ntopic a/#\npattern deny a/b",
        "pattern a/#\nuser u\ntopic deny a/b",
        "pattern deny a/%c\npattern a/#",
    ] {
        let (authorizer, who) = (authorizer(file), who("b", "u"));
        assert!(!may_read(&authorizer, &who, "a/b") && !may_publish(&authorizer, &who, "a/b"), "{file}");
        assert!(may_read(&authorizer, &who, "a/c") && may_publish(&authorizer, &who, "a/c"), "{file}");
    }
}

#[test]
fn a_name_that_spells_a_wildcard_or_levels_widens_nothing() {
    let authorizer = authorizer("pattern c/%c/#\npattern u/%u/#\npattern %c/own\npattern open/#");
    for name in ["+", "#", "a/b", "+/x", "a/#", "a+", "/"] {
        for who in [who(name, "u"), who("c", name), who(name, name)] {
            let affected = if &*who.client_id == name { "c" } else { "u" };
            for topic in ["a", "a/b", "x", "a/b/c"] {
                assert!(!may_read(&authorizer, &who, &format!("{affected}/{topic}")), "{who:?} {topic}");
                assert!(!may_publish(&authorizer, &who, &format!("{affected}/{topic}")), "{who:?} {topic}");
            }
            assert!(!authorizer.may_subscribe(&who, &filter(&format!("{affected}/#"))), "{who:?}");
            assert!(!authorizer.covers(&who, &filter(&format!("{affected}/+"))), "{who:?}");
            assert!(may_read(&authorizer, &who, "open/x"), "a pattern without the name still holds");
        }
    }
}

#[test]
fn an_empty_name_fills_no_level() {
    let authorizer = authorizer("pattern u/%u/#");
    let who = Principal { client_id: "c".into(), username: Some("".into()) };
    assert!(!may_read(&authorizer, &who, "u//x") && !may_read(&authorizer, &who, "u/"));
}

#[test]
fn a_name_does_not_lead_into_dollar_topics() {
    let authorizer = authorizer("pattern %c/#\npattern %u/#");
    for who in [who("$SYS", "u"), who("c", "$SYS")] {
        assert!(!may_read(&authorizer, &who, "$SYS/broker/uptime"));
        assert!(!authorizer.may_subscribe(&who, &filter("$SYS/#")));
    }
}

#[test]
fn a_denied_name_with_a_slash_is_denied_the_levels_that_it_spells() {
    let authorizer = authorizer("pattern read #\npattern deny dev/%c/admin");
    let who = who("x/y", "");
    assert!(!may_read(&authorizer, &who, "dev/x/y/admin"));
    assert!(may_read(&authorizer, &who, "dev/x/admin"));
}

#[test]
fn a_subscription_is_granted_where_anything_of_it_may_be_read() {
    let authorizer = authorizer(FILE);
    for (username, text, granted) in [
        ("", "#", true),
        ("", "news/#", true),
        ("", "+/a", true),
        ("", "news", true),
        ("", "guests/#", false), // writing is not reading
        ("", "sensor/c/data", false),
        ("", "alice/#", false),
        ("", "$SYS/#", false),
        ("alice", "$SYS/broker/+", true),
        ("alice", "alice/#", true),
        ("alice", "alice/private/#", false),
        ("alice", "alice/private/x", false),
        ("alice", "alice/+", true),
        ("alice", "home/alice/+", true),
        ("alice", "home/bob/+", false),
        ("alice", "home/+/lamp", true),
        ("bob", "$SYS/#", false),
        ("bob", "a/b/c", true),
    ] {
        assert_eq!(authorizer.may_subscribe(&who("c", username), &filter(text)), granted, "{username:?} {text}");
    }
}

#[test]
fn a_grant_that_is_denied_as_a_whole_grants_no_subscription() {
    let authorizer = authorizer("user u\ntopic read a/b\ntopic deny a/#");
    assert!(!authorizer.may_subscribe(&who("c", "u"), &filter("#")));
}

#[test]
fn covered_is_what_needs_no_check_at_delivery() {
    let authorizer = authorizer(FILE);
    for (username, text, covered) in [
        ("", "news/#", true),
        ("", "news/+/x", true),
        ("", "#", false),
        ("", "+/x", false),
        ("alice", "alice/#", false), // some of it is denied
        ("alice", "alice/+", false),
        ("alice", "alice/open/#", true),
        ("alice", "home/alice/#", true),
        ("alice", "$SYS/#", true),
        ("bob", "#", true),
        ("bob", "$SYS/#", false),
    ] {
        assert_eq!(authorizer.covers(&who("c", username), &filter(text)), covered, "{username:?} {text}");
    }
}

proptest! {
    /// The three answers about reading agree: what is covered may be read, and what may be read may be subscribed to.
    #[test]
    fn a_filter_is_never_promised_more_than_its_topics(
        lines in prop::collection::vec(r"(topic|pattern) (read|deny) ([ab+]|%c|\$s)(/([ab+]|%u)){0,2}(/#)?", 0..5),
        text in r"([ab+]|\$s)(/[ab+]){0,2}(/#)?|#",
        topic in r"([ab]|\$s)(/[ab]){0,3}",
    ) {
        let authorizer = authorizer(&format!("user b\n{}", lines.join("\n")));
        let (who, filter, topic) = (who("a", "b"), filter(&text), TopicName::new(&topic).unwrap());
        if filter.matches(topic) {
            let readable = authorizer.may_read(&who, topic);
            prop_assert!(readable || !authorizer.covers(&who, &filter));
            prop_assert!(!readable || authorizer.may_subscribe(&who, &filter));
        }
    }
}

/// Somebody outside; what it says does not matter here.
#[derive(Debug)]
struct Outside;

impl Hook for Outside {
    fn authenticates(&self) -> bool {
        false
    }

    fn authorizes(&self) -> bool {
        true
    }

    fn memory(&self) -> (std::time::Duration, usize) {
        (std::time::Duration::ZERO, 0)
    }

    fn authenticate(&self, _: LoginQuestion) -> Answering<LoginAnswer> {
        Box::pin(std::future::ready(LoginAnswer::Ignore))
    }

    fn authorize(&self, _: RightQuestion) -> Answering<RightAnswer> {
        Box::pin(std::future::ready(RightAnswer::Deny))
    }
}

#[test]
fn somebody_outside_is_asked_about_what_the_file_leaves_open() {
    use Opinion::{Ask, Denied, Granted};
    let file = "topic readwrite open/#\ntopic deny open/secret/#\ntopic deny closed/#\n";
    let authorizer = authorizer(file).with_others(false, Some(Arc::new(Outside)));
    let who = who("c", "");
    let asker = Asker::plain(&who);
    for (topic, publish, read) in [
        ("open/x", Granted, true),
        ("open/secret/x", Denied, false),
        ("closed/x", Denied, false),
        ("other", Ask, true), // what was said to the subscription holds
        ("$SYS/x", Denied, true),
    ] {
        let topic = TopicName::new(topic).unwrap();
        assert_eq!(authorizer.on_publish(&asker, topic), publish, "{topic}");
        assert_eq!(authorizer.on_read(&asker, topic), read, "{topic}");
    }
    for (text, opinion) in
        [("open/x/+", Granted), ("open/secret/+", Denied), ("open/#", Ask), ("#", Ask), ("closed/#", Denied), ("other", Ask)]
    {
        // All of open/x/+ may be read; of open/# there is something that may not.
        assert_eq!(authorizer.on_subscribe(&asker, &filter(text)), opinion, "{text}");
    }
    let alone = Authorizer::new(None).with_others(false, Some(Arc::new(Outside)));
    assert!(!alone.is_unrestricted() && alone.is_personal());
    assert_eq!(alone.on_publish(&asker, TopicName::new("a").unwrap()), Ask);
    assert_eq!(alone.on_subscribe(&asker, &filter("a")), Ask);
}

#[test]
fn rights_that_were_brought_along_stand_in_for_the_grants_of_the_file_and_not_for_its_denials() {
    use Opinion::{Denied, Granted};
    let file = "topic readwrite file/#\ntopic deny own/secret\n";
    let grants = Grants::parse(&serde_json::json!({"all": ["own/#"], "sub": ["in"], "deny": ["own/private"]})).unwrap();
    let who = who("c", "");
    for hook in [None, Some(Arc::new(Outside) as Arc<dyn Hook>)] {
        let authorizer = authorizer(file).with_others(true, hook);
        let known = Asker { principal: &who, claim: Claim::Known(&grants) };
        for (topic, publish, read) in [
            ("own/x", Granted, true),
            ("in", Denied, true),
            ("own/secret", Denied, false),
            ("own/private", Denied, false),
            ("file/x", Denied, false),
            ("$SYS/x", Denied, false),
        ] {
            let topic = TopicName::new(topic).unwrap();
            assert_eq!(authorizer.on_publish(&known, topic), publish, "{topic}");
            assert_eq!(authorizer.on_read(&known, topic), read, "{topic}");
        }
        for (text, opinion) in
            [("#", Granted), ("own/secret", Denied), ("own/private", Denied), ("file/#", Denied), ("in", Granted)]
        {
            assert_eq!(authorizer.on_subscribe(&known, &filter(text)), opinion, "{text}");
        }
        // Before the client has come back all but the file's denials may wait for it.
        let unknown = Asker { principal: &who, claim: Claim::Unknown };
        assert!(authorizer.on_read(&unknown, TopicName::new("anything").unwrap()));
        assert!(!authorizer.on_read(&unknown, TopicName::new("own/secret").unwrap()));
    }
}
