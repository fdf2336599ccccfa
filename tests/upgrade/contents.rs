//! What is in a data directory, in words that do not change with the program.

use std::fmt::Write;
use std::sync::Arc;

use dunlin::packet::Message;
use dunlin::storage::{
    EntryState, OnlineState, Opened, Place, Publisher, Recipient, SessionHeader, SessionState, StoredWill, Summary, load,
};

use crate::WALL;

pub(crate) fn contents(opened: &Opened<()>) -> String {
    let mut out = format!("next session {}\n", opened.state.next_session);
    let mut sessions: Vec<_> = opened.state.sessions.iter().collect();
    sessions.sort_by_key(|(number, _)| **number);
    for (number, session) in sessions {
        writeln!(out, "session {number}").unwrap();
        tell_session(&mut out, opened, session);
    }
    let mut retained: Vec<_> = opened.state.retained.iter().collect();
    retained.sort_by_key(|(topic, _)| topic.to_string());
    for (topic, retained) in retained {
        writeln!(out, "retained {topic:?} by {}", publisher(&retained.publisher)).unwrap();
        let message = &opened.messages[&retained.place];
        writeln!(out, "  {}", message_in_words(opened, message)).unwrap();
        assert_eq!(**message, *loaded(opened, &retained.place));
    }
    out
}

fn tell_session(out: &mut String, opened: &Opened<()>, session: &SessionState) {
    let SessionState { header, subscriptions, entries, received, replays, next_sequence } = session;
    tell_header(out, opened, header);
    writeln!(out, "  next sequence {next_sequence}").unwrap();
    for (filter, (options, identifier)) in subscriptions {
        let (qos, handling) = (options.qos as u8, options.retain_handling as u8);
        let (no_local, as_published) = (options.no_local, options.retain_as_published);
        writeln!(
            out,
            "  subscribed {filter} QoS {qos}, no local {no_local}, as published {as_published}, handling {handling}, {identifier:?}"
        )
        .unwrap();
    }
    for (filter, from) in replays {
        writeln!(out, "  replaying {filter} from {from:?}").unwrap();
    }
    for id in received {
        writeln!(out, "  received {}", id.get()).unwrap();
    }
    for (sequence, entry) in entries {
        match entry {
            EntryState::Released => writeln!(out, "  {sequence} released").unwrap(),
            EntryState::Waiting(recipient, place) => {
                writeln!(out, "  {sequence} waiting, {}", recipient_in_words(recipient)).unwrap();
                writeln!(out, "    {}", message_in_words(opened, &loaded(opened, place))).unwrap();
            }
        }
    }
}

fn tell_header(out: &mut String, opened: &Opened<()>, header: &SessionHeader) {
    let SessionHeader {
        mount_point,
        client_id,
        username,
        listener,
        expiry_interval,
        state,
        will,
        next_sequence: _, // what follows from all records is told instead
        first_unsent,
        revision,
    } = header;
    writeln!(out, "  client {client_id:?} in {mount_point:?}, user {username:?}, listener {listener:?}").unwrap();
    let state = match state {
        OnlineState::Online => "online".to_owned(),
        OnlineState::Offline { expires_at: None } => "offline for ever".to_owned(),
        OnlineState::Offline { expires_at: Some(at) } => format!("offline until {at}"),
    };
    writeln!(out, "  {state}, expiry interval {expiry_interval}, first unsent {first_unsent}, revision {revision}").unwrap();
    if let Some(StoredWill { message, delay_interval, message_expiry_interval, due_at }) = will {
        writeln!(out, "  will after {delay_interval} s, due {due_at:?}, expiry {message_expiry_interval:?}").unwrap();
        writeln!(out, "    {}", message_in_words(opened, message)).unwrap();
    }
}

fn recipient_in_words(recipient: &Recipient) -> String {
    let Recipient { session: _, sequence: _, qos, retain, notes } = recipient;
    let notes = notes.as_ref().map(|notes| (notes.identifiers.to_vec(), notes.share.as_ref().map(ToString::to_string)));
    format!("QoS {}, retain {retain}, notes {notes:?}", *qos as u8)
}

fn message_in_words(opened: &Opened<()>, message: &Message) -> String {
    let view = message.view();
    let mut properties = Vec::new();
    view.properties.copy_to(&mut properties);
    let expiry = message.expires_at.map(|at| opened.committer.journal().clock.wall(at) - WALL);
    format!(
        "topic {:?}, QoS {}, retain {}, expires after {expiry:?} ms, properties {}, payload {}",
        view.topic.as_str(),
        message.qos as u8,
        message.retain,
        properties.escape_ascii(),
        view.payload.escape_ascii(),
    )
}

fn loaded(opened: &Opened<()>, place: &Place) -> Arc<Message> {
    let body = opened.bodies[place].clone();
    load(&[body], &opened.committer.journal().clock).unwrap().remove(0)
}

fn publisher(publisher: &Publisher) -> String {
    match &publisher.client {
        None => "the broker".into(),
        Some(client) => format!("{:?}, user {:?}, listener {:?}", client.client_id, client.username, client.listener),
    }
}

/// What `dunlin inspect` is told.
pub(crate) fn summary(summary: &Summary) -> String {
    let mut out = String::new();
    for session in &summary.sessions {
        writeln!(
            out,
            "{:?} in {:?}, user {:?}, listener {:?}: online {}, expires {:?}, {} messages, {} received, will {}, subscriptions {:?}",
            session.client_id,
            session.mount_point,
            session.username,
            session.listener,
            session.online,
            session.expires_at,
            session.messages,
            session.received,
            session.has_will,
            session.subscriptions,
        )
        .unwrap();
    }
    writeln!(out, "retained {:?}", summary.retained).unwrap();
    out
}
