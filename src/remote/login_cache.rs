use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::Mutex;
use ring::hmac;

use crate::auth::{Grants, LoginAnswer, LoginQuestion, Welcome};

/// Answers to logins that count for a while. No password is in it, and none can be found out from it: what was asked is kept as a keyed
/// hash, under a key that nobody has.
pub(super) struct LoginCache {
    ttl: Duration,
    max: usize,
    key: hmac::Key,
    answers: Mutex<HashMap<Asked, Kept>>,
}

/// What was asked.
pub(super) type Asked = [u8; 32];

#[derive(Clone)]
struct Kept {
    until: Instant,
    /// `None` for a no.
    welcome: Option<(Option<String>, Option<Grants>, Option<Instant>)>,
}

impl LoginCache {
    /// With `ttl` or `max` zero nothing is kept.
    pub(super) fn new(ttl: Duration, max: usize) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>());
        Self { ttl, max, key, answers: Mutex::default() }
    }

    /// What to keep the answer under; `None` where none is kept.
    pub(super) fn key(&self, question: &LoginQuestion) -> Option<Asked> {
        if self.ttl.is_zero() || self.max == 0 {
            return None;
        }
        let mut hash = hmac::Context::with_key(&self.key);
        let username = question.username.as_deref().map(str::as_bytes);
        let parts = [
            Some(question.client_id.as_bytes()),
            username,
            question.password.as_deref(),
            Some(question.place.listener.as_bytes()),
        ];
        for part in parts {
            // Lengths in front, so that no two questions are the same bytes.
            hash.update(&part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
            hash.update(part.unwrap_or_default());
        }
        hash.sign().as_ref().try_into().ok()
    }

    pub(super) fn get(&self, asked: &Asked, now: Instant) -> Option<LoginAnswer> {
        let kept = self.answers.lock().get(asked).filter(|kept| now < kept.until)?.clone();
        Some(match kept.welcome {
            None => LoginAnswer::Deny,
            Some((username, grants, leaves_at)) => {
                let stay = leaves_at.map(|at| at.saturating_duration_since(now));
                LoginAnswer::Allow(Welcome { username, grants, stay })
            }
        })
    }

    /// Keeps a yes or a no. Returns whether others had to go for it.
    pub(super) fn put(&self, asked: Asked, answer: &LoginAnswer, now: Instant) -> bool {
        let welcome = match answer {
            LoginAnswer::Allow(Welcome { username, grants, stay }) => {
                Some((username.clone(), grants.clone(), stay.and_then(|stay| now.checked_add(stay))))
            }
            LoginAnswer::Deny => None,
            LoginAnswer::Ignore | LoginAnswer::Unavailable => return false,
        };
        let mut answers = self.answers.lock();
        let is_full = answers.len() >= self.max && !answers.contains_key(&asked);
        if is_full {
            answers.retain(|_, kept| now < kept.until);
            if answers.len() >= self.max {
                answers.clear();
            }
        }
        answers.insert(asked, Kept { until: now + self.ttl, welcome });
        is_full
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Place;

    const SECOND: Duration = Duration::from_secs(1);

    fn question(client_id: &str, username: Option<&str>, password: Option<&[u8]>) -> LoginQuestion {
        let place = Place { listener: "l".into(), address: "unix".into(), version: "5.0".into() };
        let (username, password) = (username.map(String::from), password.map(<[u8]>::to_vec));
        LoginQuestion { client_id: client_id.into(), username, password, place }
    }

    #[test]
    fn only_the_same_question_has_the_same_answer_and_only_for_a_while() {
        let (cache, now) = (LoginCache::new(SECOND, 10), Instant::now());
        let asked = cache.key(&question("c", Some("u"), Some(b"p"))).unwrap();
        let stay = Some(SECOND * 3);
        cache.put(asked, &LoginAnswer::Allow(Welcome { stay, ..Welcome::default() }), now);
        for other in [
            question("c", Some("u"), Some(b"q")),
            question("c", Some("u"), None),
            question("c", None, Some(b"p")),
            question("d", Some("u"), Some(b"p")),
            question("cu", Some(""), Some(b"p")),
            question("c", Some("up"), Some(b"")),
        ] {
            assert!(cache.get(&cache.key(&other).unwrap(), now).is_none(), "{other:?}");
        }
        let later = now + SECOND / 2;
        let Some(LoginAnswer::Allow(welcome)) = cache.get(&asked, later) else { panic!("it is kept") };
        assert_eq!(welcome.stay, Some(SECOND * 3 - SECOND / 2), "who comes later has less time left");
        assert!(cache.get(&asked, now + SECOND).is_none());
        cache.put(asked, &LoginAnswer::Deny, now);
        assert!(matches!(cache.get(&asked, now), Some(LoginAnswer::Deny)));
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let (cache, now) = (LoginCache::new(SECOND, 2), Instant::now());
        let asked = |name: &str| cache.key(&question(name, None, None)).unwrap();
        assert!(!cache.put(asked("a"), &LoginAnswer::Deny, now) && !cache.put(asked("b"), &LoginAnswer::Deny, now));
        assert!(!cache.put(asked("b"), &LoginAnswer::Deny, now));
        assert!(cache.put(asked("c"), &LoginAnswer::Deny, now));
        assert_eq!(cache.answers.lock().len(), 1);
        assert!(LoginCache::new(Duration::ZERO, 2).key(&question("a", None, None)).is_none());
    }
}
