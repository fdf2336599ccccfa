use std::sync::Arc;

use crate::packet::{QoS, TopicFilter};
use crate::storage::Notes;

/// What one subscription, or several of one client together, make of a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grant<'a> {
    pub qos: QoS,
    pub retain: bool,
    pub identifiers: &'a [u32],
    /// The whole filter of the shared subscription that chose this session, if one did.
    pub share: Option<&'a TopicFilter>,
}

impl Grant<'_> {
    /// Nothing but QoS and RETAIN.
    pub(super) const fn is_plain(&self) -> bool {
        self.identifiers.is_empty() && self.share.is_none()
    }

    /// What few have; `None` for the others.
    pub(super) fn notes(&self) -> Option<Arc<Notes>> {
        let notes = || Notes { identifiers: self.identifiers.into(), share: self.share.cloned() };
        (!self.is_plain()).then(|| Arc::new(notes()))
    }
}
