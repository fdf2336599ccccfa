/// The figures of one work queue, as they were when somebody last looked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueFigures {
    pub name: String,
    /// Empty for a queue of clients without one.
    pub mount_point: String,
    /// Messages in it that no consumer has and that wait for no time.
    pub ready: u64,
    /// Messages that a consumer has.
    pub leased: u64,
    /// Messages that wait for a delay or a backoff.
    pub delayed: u64,
    pub bytes: u64,
    pub oldest_age_seconds: f64,
    pub consumers: u64,
    pub keys: u64,
    pub blocked_keys: u64,
    pub is_paused: bool,
    pub enqueued: u64,
    pub delivered: u64,
    pub settled: u64,
    pub settled_late: u64,
    /// By reason code.
    pub failed: Vec<(u8, u64)>,
    /// By cause.
    pub redelivered: Vec<(&'static str, u64)>,
    /// By reason.
    pub dead: Vec<(&'static str, u64)>,
    /// Messages that went away undone, by reason; `dead-overflow` are dead letters that others took the place of.
    pub dropped: [(&'static str, u64); 4],
    /// Publishes that were refused because it was full.
    pub rejected: u64,
    pub dedup_hits: u64,
    pub settle_refused: u64,
    /// Messages among its dead letters.
    pub dead_letters: u64,
    pub dead_letters_oldest_age_seconds: f64,
    pub dead_letter_consumers: u64,
    pub redriven: u64,
}
