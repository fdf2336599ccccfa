use super::properties::{NOT_ALLOWED, PropertyId, PropertyReader, properties_of};
use super::{MalformedPacket, UserProperties};

/// A run of encoded properties that a PUBLISH hands on unaltered: Payload Format Indicator, Content Type, Response Topic,
/// Correlation Data, User Properties `[MQTT-3.3.2-4, -15, -16, -17, -20]`. Other valid properties in the run (Topic Alias,
/// Message Expiry Interval, Will Delay Interval) are skipped when it is copied.
#[derive(Clone, Copy, Debug, Default)]
pub struct ForwardedProperties<'a> {
    pub(super) section: &'a [u8],
    /// Whether the run holds something that must be skipped when copied.
    pub(super) mixed: bool,
}

impl<'a> ForwardedProperties<'a> {
    /// Checks a run that holds nothing else, such as one that [`Self::copy_to`] wrote and that was stored.
    pub fn read(section: &'a [u8]) -> Result<Self, MalformedPacket> {
        let mut properties = PropertyReader::new(section, usize::MAX);
        while let Some(id) = properties.next()? {
            if !read_forwarded(&mut properties, id)? {
                return Err(NOT_ALLOWED);
            }
        }
        Ok(Self { section, mixed: false })
    }

    #[inline]
    pub(super) fn of(properties: &PropertyReader<'a>) -> Self {
        let (section, mixed) = properties.forwarded();
        Self { section, mixed }
    }

    /// Bytes that [`Self::copy_to`] writes; known at once unless something must be skipped.
    #[inline]
    pub fn len(&self) -> usize {
        if self.mixed { self.parts().map(<[u8]>::len).sum() } else { self.section.len() }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.section.is_empty()
    }

    /// Appends the run without what must be skipped.
    #[inline]
    pub fn copy_to(&self, out: &mut Vec<u8>) {
        if self.mixed {
            self.parts().for_each(|part| out.extend_from_slice(part));
        } else {
            out.extend_from_slice(self.section);
        }
    }

    /// The same without User Properties whose names `is_out` picks.
    pub fn copy_without(&self, is_out: impl Fn(&str) -> bool, out: &mut Vec<u8>) {
        if !self.user_properties().iter().any(|(name, _)| is_out(name)) {
            return self.copy_to(out);
        }
        let is_in = |part: &&[u8]| UserProperties::trusted(part).iter().all(|(name, _)| !is_out(name));
        self.parts().filter(is_in).for_each(|part| out.extend_from_slice(part));
    }

    /// The User Properties among them.
    pub fn user_properties(&self) -> UserProperties<'a> {
        UserProperties::trusted(self.section)
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        properties_of(self.section).filter_map(|(id, bytes)| is_forwarded(id).then_some(bytes))
    }
}

impl PartialEq for ForwardedProperties<'_> {
    /// Two runs are the same if they hand on the same.
    fn eq(&self, other: &Self) -> bool {
        if self.mixed || other.mixed { self.parts().eq(other.parts()) } else { self.section == other.section }
    }
}

/// Reads the value of a property that is handed on; `false`, and nothing read, for another one.
pub(super) fn read_forwarded(properties: &mut PropertyReader<'_>, id: PropertyId) -> Result<bool, MalformedPacket> {
    match id {
        PropertyId::PayloadFormatIndicator => properties.bool().map(drop)?,
        PropertyId::ContentType => properties.string().map(drop)?,
        PropertyId::ResponseTopic => properties.response_topic().map(drop)?,
        PropertyId::CorrelationData => properties.binary().map(drop)?,
        PropertyId::UserProperty => properties.user_property()?,
        _ => return Ok(false),
    }
    properties.forward();
    Ok(true)
}

const fn is_forwarded(id: PropertyId) -> bool {
    matches!(
        id,
        PropertyId::PayloadFormatIndicator
            | PropertyId::ContentType
            | PropertyId::ResponseTopic
            | PropertyId::CorrelationData
            | PropertyId::UserProperty
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_handed_on_is_skipped() {
        let mixed = ForwardedProperties { section: b"\x01\x01\x02\0\0\0\x09\x23\0\x01\x18\0\0\0\x01\x03\0\x01c", mixed: true };
        let mut out = Vec::new();
        mixed.copy_to(&mut out);
        assert_eq!(out, b"\x01\x01\x03\0\x01c");
        assert_eq!(mixed.len(), out.len());
        assert_eq!(mixed, ForwardedProperties::read(&out).unwrap());
    }

    #[test]
    fn a_stored_run_with_anything_else_in_it_is_refused() {
        assert!(ForwardedProperties::read(b"\x02\0\0\0\x09").is_err());
        assert!(ForwardedProperties::read(b"\x03\0\x05c").is_err());
        assert_eq!(ForwardedProperties::read(b"").unwrap(), ForwardedProperties::default());
    }
}
