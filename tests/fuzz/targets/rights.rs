//! ACL and password files of any content, and the questions that are asked of them.

#![no_main]

use std::sync::Arc;

use arbitrary::Arbitrary;
use dunlin::auth::{AclFile, Authorizer, PasswordFile, PasswordHash, Principal};
use dunlin::packet::{TopicFilter, TopicName};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    acl: &'a str,
    passwords: &'a str,
    hash: &'a str,
    client_id: &'a str,
    username: Option<&'a str>,
    topic: &'a str,
    filter: &'a str,
}

fuzz_target!(|input: Input<'_>| {
    // Hashes are not verified: what they cost is written in them, and the file is the operator's own.
    let _ = PasswordFile::parse(input.passwords);
    let _ = PasswordHash::parse(input.hash);
    let Ok(file) = AclFile::parse(input.acl) else { return };
    let authorizer = Authorizer::new(Some(Arc::new(file)));
    let who = Principal { client_id: input.client_id.into(), username: input.username.map(Into::into) };
    let topic = TopicName::new(input.topic);
    if let Ok(topic) = topic {
        let _ = authorizer.may_publish(&who, topic);
        let _ = authorizer.may_read(&who, topic);
    }
    let Ok(filter) = TopicFilter::new(input.filter) else { return };
    let may_subscribe = authorizer.may_subscribe(&who, &filter);
    let covers = authorizer.covers(&who, &filter);
    let Ok(topic) = topic else { return };
    if filter.shared().is_none() && filter.matches(topic) {
        let may_read = authorizer.may_read(&who, topic);
        assert!(may_read || !covers, "a filter that is covered has a topic that may not be read");
        assert!(may_subscribe || !may_read, "a filter that is refused has a topic that may be read");
    }
});
