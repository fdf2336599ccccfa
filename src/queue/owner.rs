use std::sync::Arc;

use crate::storage::{Parts, PublishingClient, Put};

/// Who has published a message that waits for its time, as the journal knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    pub client: PublishingClient,
    /// By its mount point.
    pub tenant: Option<Arc<str>>,
}

impl Owner {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.client.write(out);
        out.put_option(self.tenant.as_deref());
    }

    /// Takes its bytes off the front.
    pub(super) fn read(bytes: &mut Parts<'_>) -> Option<Self> {
        Some(Self { client: PublishingClient::read(bytes)?, tenant: bytes.option()?.map(Arc::from) })
    }
}
