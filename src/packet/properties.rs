//! Properties of MQTT 5 packets (2.2.2). Each packet keeps its own in a struct of its own; this file reads and writes single ones.

/// The User Properties of a packet: in order, names may repeat `[MQTT-3.3.2-18]`. A validated slice of the property section, read when asked.
#[derive(Clone, Copy, Default)]
pub struct UserProperties<'a> {
    /// A run of whole, valid properties; those that are not User Properties are passed over.
    section: &'a [u8],
}

impl std::fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.section)
    }
}

impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.section == other.section
    }
}
