use super::segment::Place;

/// Takes a record: its stream, the place of its body, its content.
pub type Tell<'a> = &'a mut dyn FnMut(u64, Option<Place>, &[u8]);

/// What the records of the work queues fold into. Storage carries those records and the bodies that they name without knowing what they
/// say; whoever opens the journal brings along what does.
pub trait WorkState: std::fmt::Debug + Send {
    /// Takes one record over: `content` as it was told, and the place of its body if it has one. Each may come onto a state that has it
    /// already.
    fn apply(&mut self, stream: u64, place: Option<Place>, content: &[u8]);

    /// Shows the places of all bodies that are still wanted.
    fn places(&self, see: &mut dyn FnMut(Place));

    /// Lets the places be changed: bodies have been moved.
    fn move_places(&mut self, change: &mut dyn FnMut(&mut Place));

    /// Forgets what lies at places that are gone, and says how many messages that were.
    fn forget(&mut self, is_gone: &dyn Fn(&Place) -> bool) -> usize;

    /// The records that make this state again.
    fn show(&self, tell: Tell<'_>);

    /// For whoever brought it along, to take it back as what it is.
    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any>;
}

/// For journals that are read without knowing any queue: their records are passed over.
#[derive(Debug, Default)]
pub struct NoWork;

impl WorkState for NoWork {
    fn apply(&mut self, _: u64, _: Option<Place>, _: &[u8]) {}

    fn places(&self, _: &mut dyn FnMut(Place)) {}

    fn move_places(&mut self, _: &mut dyn FnMut(&mut Place)) {}

    fn forget(&mut self, _: &dyn Fn(&Place) -> bool) -> usize {
        0
    }

    fn show(&self, _: Tell<'_>) {}

    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any> {
        self
    }
}
