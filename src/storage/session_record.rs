//! The record of a session as bytes: its header, and its will.

use std::sync::Arc;

use super::codec::{Parts, Put};
use super::frame;
use super::record::{OnlineState, SessionHeader, StoredWill, kind, put_message, read_message};

pub(super) fn put_session(out: &mut Vec<u8>, session: u64, header: &SessionHeader) {
    frame::put(out, kind::SESSION, |out| {
        out.put_varint(session);
        out.put_varint(header.expiry_interval.into());
        out.put_varint(header.next_sequence);
        out.put_varint(header.first_unsent);
        out.put_varint(header.revision);
        match header.state {
            OnlineState::Online => out.push(0),
            OnlineState::Offline { expires_at: None } => out.push(1),
            OnlineState::Offline { expires_at: Some(at) } => {
                out.push(2);
                out.put_varint(at);
            }
        }
        out.put_option(header.mount_point.as_deref());
        out.put_text(&header.client_id);
        out.put_option(header.username.as_deref());
        out.put_text(&header.listener);
        match &header.will {
            None => out.push(0),
            Some(will) => {
                out.push(1);
                put_will(out, will);
            }
        }
    });
}

fn put_will(out: &mut Vec<u8>, will: &StoredWill) {
    out.put_varint(will.delay_interval.into());
    // One more than the value; zero is none.
    out.put_varint(will.message_expiry_interval.map_or(0, |seconds| u64::from(seconds) + 1));
    out.put_varint(will.due_at.map_or(0, |at| at + 1));
    put_message(out, &will.message, None);
}

pub(super) fn read_header(parts: &mut Parts<'_>) -> Option<SessionHeader> {
    // The second may be the highest that there is: all that waits may have been sent.
    let (expiry_interval, next_sequence, first_unsent) = (parts.number()?, parts.counted()?, parts.varint()?);
    let revision = parts.counted()?;
    let state = match parts.u8()? {
        0 => OnlineState::Online,
        1 => OnlineState::Offline { expires_at: None },
        2 => OnlineState::Offline { expires_at: Some(parts.varint()?) },
        _ => return None,
    };
    let mount_point = parts.option()?.map(Arc::from);
    let (client_id, username, listener) = (parts.text()?.into(), parts.option()?.map(Arc::from), parts.text()?.into());
    let will = match parts.u8()? {
        0 => None,
        1 => Some(read_will(parts)?),
        _ => return None,
    };
    Some(SessionHeader {
        mount_point,
        client_id,
        username,
        listener,
        expiry_interval,
        state,
        will,
        next_sequence,
        first_unsent,
        revision,
    })
}

fn read_will(parts: &mut Parts<'_>) -> Option<StoredWill> {
    let delay_interval = parts.number()?;
    let message_expiry_interval = parts.varint()?.checked_sub(1).map(u32::try_from).transpose().ok()?;
    let due_at = parts.varint()?.checked_sub(1);
    let stored = read_message(parts)?;
    let message = stored.message(None)?;
    Some(StoredWill { message, delay_interval, message_expiry_interval, due_at })
}
