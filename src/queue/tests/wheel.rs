use super::super::list::{Linked, Links};
use super::super::slab::Slab;
use super::super::wheel::{TICK, Timed, Wheel, WheelPlace};
use super::*;

struct Timer {
    due: UnixMillis,
    links: Links,
    place: WheelPlace,
}

impl Linked for Timer {
    fn links(&mut self, _: usize) -> &mut Links {
        &mut self.links
    }

    fn next(&self, _: usize) -> u32 {
        self.links.next()
    }
}

impl Timed for Timer {
    fn due(&self) -> UnixMillis {
        self.due
    }

    fn place(&mut self) -> &mut WheelPlace {
        &mut self.place
    }
}

fn timer(due: UnixMillis) -> Timer {
    Timer { due, links: Links::default(), place: WheelPlace::NONE }
}

/// Sets a timer per delay and goes from one wake to the next.
fn run(delays: &[u64]) {
    let mut slab = Slab::new();
    let mut wheel = Wheel::<0>::new(START);
    for delay in delays {
        let id = slab.insert(timer(UnixMillis(START.0 + delay)));
        wheel.insert(&mut slab, id);
    }
    let tick = TICK.as_millis() as u64;
    let mut fired = 0;
    let mut wakes = 0;
    while let Some(wake) = wheel.next_due() {
        let now = UnixMillis(wake.0.max(START.0));
        while let Some(id) = wheel.pop_due(&mut slab, now) {
            let due = slab.remove(id).due;
            assert!(due <= now && now.0 < due.0 + tick, "due at {due:?}, fired at {now:?}");
            fired += 1;
        }
        wakes += 1;
        assert!(wakes <= 8 * delays.len(), "it wakes for nothing");
    }
    assert_eq!((fired, slab.len()), (delays.len(), 0));
}

#[test]
fn timers_fire_once_never_early_and_less_than_a_tick_late() {
    run(&[0, 1, 9, 10, 11, 639, 640, 641, 40_960, 1_000_000, 86_400_000, 7 * 86_400_000, 100 * 365 * 86_400_000]);
    let mut random = random::Random::new(3);
    for _ in 0..200 {
        let delays: Vec<_> = (0..50).map(|_| random.next() >> (24 + random.next() % 40)).collect();
        run(&delays);
    }
}

#[test]
fn a_timer_can_be_taken_off_and_set_anew() {
    let mut slab = Slab::new();
    let mut wheel = Wheel::<0>::new(START);
    let ids: Vec<_> = (0..1000).map(|delay| slab.insert(timer(UnixMillis(START.0 + delay * 977)))).collect();
    ids.iter().for_each(|id| wheel.insert(&mut slab, *id));
    for id in ids.iter().step_by(2) {
        wheel.remove(&mut slab, *id);
        wheel.remove(&mut slab, *id);
    }
    slab[ids[0]].due = UnixMillis(START.0 + 5_000_000);
    wheel.insert(&mut slab, ids[0]);
    let late = UnixMillis(START.0 + 4_000_000);
    let fired: Vec<_> = std::iter::from_fn(|| wheel.pop_due(&mut slab, late)).collect();
    assert_eq!(fired.len(), 500);
    assert!(fired.is_sorted_by_key(|id| slab[*id].due), "in their order");
    assert_eq!(wheel.pop_due(&mut slab, UnixMillis(START.0 + 5_000_010)), Some(ids[0]));
    assert_eq!(wheel.next_due(), None);
}
