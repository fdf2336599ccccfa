//! What all publishers of a run are told together, and what each makes of it.

use std::time::Duration;

use super::clock;
use super::publisher::{Orders, Pacing};
use super::settings::{Load, Pace};

#[derive(Clone, Debug)]
pub(super) struct Campaign {
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) size: usize,
    pub(super) pace: Pace,
    pub(super) limit: Option<u64>,
    /// Whether subscribers are there to deliver to now.
    pub(super) awaits_deliveries: bool,
    /// Messages that were published before, and are to go on waiting.
    pub(super) backlog: u64,
    /// How many there are.
    pub(super) publishers: usize,
    /// When it begins.
    pub(super) start: u64,
}

impl Campaign {
    pub(super) fn new(load: &Load, publishers: usize, awaits_deliveries: bool) -> Self {
        Self {
            qos: load.qos as u8,
            retain: load.retain,
            size: load.size,
            pace: load.pace,
            limit: load.limit,
            awaits_deliveries,
            backlog: 0,
            publishers,
            start: clock::now(),
        }
    }

    /// The share of one publisher. Those of an open loop do not all send at the same moment.
    pub(super) fn orders(&self, publisher: usize) -> Orders {
        let pacing = match self.interval() {
            None => Pacing::Window(if let Pace::Window(window) = self.pace { window } else { 1 }),
            Some(interval) => {
                let offset = interval.mul_f64(publisher as f64 / self.publishers as f64);
                Pacing::every(interval, self.start + clock::nanoseconds(offset))
            }
        };
        Orders {
            qos: self.qos,
            retain: self.retain,
            size: self.size,
            pacing,
            left: self.limit.map_or(u64::MAX, |limit| self.share(limit, publisher)),
            awaits_deliveries: self.awaits_deliveries,
            backlog: self.share(self.backlog, publisher),
        }
    }

    /// Between two messages of one publisher, in an open loop.
    pub(super) fn interval(&self) -> Option<Duration> {
        match self.pace {
            Pace::Window(_) => None,
            Pace::Every(interval) => Some(interval),
            Pace::Rate(rate) => Some(Duration::from_secs_f64(self.publishers as f64 / rate)),
        }
    }

    fn share(&self, messages: u64, publisher: usize) -> u64 {
        let (publishers, publisher) = (self.publishers as u64, publisher as u64);
        messages / publishers + u64::from(publisher < messages % publishers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn campaign(pace: Pace, limit: Option<u64>) -> Campaign {
        Campaign {
            qos: 1,
            retain: false,
            size: 64,
            pace,
            limit,
            awaits_deliveries: true,
            backlog: 6,
            publishers: 4,
            start: 1000,
        }
    }

    #[test]
    fn the_limit_is_that_of_all_together() {
        let campaign = campaign(Pace::Window(5), Some(10));
        let shares: Vec<_> = (0..4).map(|publisher| campaign.orders(publisher).left).collect();
        assert_eq!(shares, [3, 3, 2, 2]);
        let backlogs: Vec<_> = (0..4).map(|publisher| campaign.orders(publisher).backlog).collect();
        assert_eq!(backlogs, [2, 2, 1, 1]);
        assert!(matches!(campaign.orders(0).pacing, Pacing::Window(5)));
    }

    #[test]
    fn the_rate_is_that_of_all_together_and_they_take_turns() {
        let campaign = campaign(Pace::Rate(4_000_000.0), None);
        for publisher in 0..4 {
            let Pacing::Every { interval, next } = campaign.orders(publisher).pacing else { panic!("not paced") };
            assert_eq!((interval, next), (1000, 1000 + 250 * publisher as u64));
        }
    }
}
