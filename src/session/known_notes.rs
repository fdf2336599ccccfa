use std::sync::Arc;

use super::grant::Grant;
use super::queued::Queued;
use crate::storage::Notes;

/// What the subscriptions of one session have to say of its messages, once for all of them: a message that waits in memory has only the
/// place of its notes here, and nothing that is allocated, or counted on two cores, for itself.
#[derive(Debug, Default)]
pub(super) struct KnownNotes(Vec<Arc<Notes>>);

/// Few sessions have so many different ones; the messages of further ones carry their own.
const PLACES: usize = 16;

impl KnownNotes {
    /// The place of what this grant says, which counts from one; `None` if there is no more.
    pub(super) fn place(&mut self, grant: &Grant<'_>) -> Option<u64> {
        let is_said = |notes: &Arc<Notes>| notes.share.as_ref() == grant.share && *notes.identifiers == *grant.identifiers;
        let index = match self.0.iter().position(is_said) {
            Some(index) => index,
            None if self.0.len() == PLACES => return None,
            None => {
                self.0.push(grant.notes()?);
                self.0.len() - 1
            }
        };
        Some(index as u64 + 1)
    }

    pub(super) fn get(&self, place: u64) -> Option<&Arc<Notes>> {
        self.0.get(usize::try_from(place.checked_sub(1)?).ok()?)
    }

    pub(super) const fn is_full(&self) -> bool {
        self.0.len() == PLACES
    }
}

/// What the subscription said of a message, wherever it is kept.
pub(super) fn notes_of<'a>(known: &'a Option<Box<KnownNotes>>, queued: &'a Queued) -> Option<&'a Arc<Notes>> {
    match queued.place() {
        Some(place) => known.as_ref()?.get(place),
        None => queued.notes(),
    }
}

pub(super) fn identifiers_of<'a>(known: &'a Option<Box<KnownNotes>>, queued: &'a Queued) -> &'a [u32] {
    notes_of(known, queued).map_or(&[], |notes| &notes.identifiers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::TopicFilter;

    #[test]
    fn the_same_notes_have_one_place_and_places_come_to_an_end() {
        let filter = TopicFilter::new("$share/g/a").unwrap();
        let mut known = KnownNotes::default();
        let shared = Grant { share: Some(&filter), ..Grant::default() };
        for _ in 0..2 {
            assert_eq!(known.place(&shared), Some(1));
            assert_eq!(known.place(&Grant { identifiers: &[7], ..shared }), Some(2));
            assert_eq!(known.place(&Grant { identifiers: &[7], ..Grant::default() }), Some(3));
        }
        assert_eq!(known.get(2).map(|notes| (notes.share.clone(), &*notes.identifiers)), Some((Some(filter), &[7][..])));
        assert!(known.get(0).is_none() && known.get(4).is_none());
        let places: Vec<_> = (100..120).map(|id| known.place(&Grant { identifiers: &[id], ..Grant::default() })).collect();
        assert_eq!((places[12], places[13], known.is_full()), (Some(16), None, true));
        assert_eq!(known.place(&Grant { identifiers: &[7], ..Grant::default() }), Some(3));
    }
}
