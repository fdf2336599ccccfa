use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hyper::Uri;
use tokio::time::{MissedTickBehavior, interval};

use super::http::HttpClient;
use crate::auth::jwt::{KeySet, Tokens};
use crate::metrics::{KeyFetch, Metrics};

/// Between two requests at least, whatever tokens come.
const FETCH_INTERVAL_MIN: Duration = Duration::from_secs(10);
/// How often it is looked whether keys are wished for.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps the keys of tokens as fresh as their URL has them.
#[derive(Debug)]
pub struct KeyFetcher {
    tokens: Weak<Tokens>,
    client: HttpClient,
    url: Uri,
    /// How often it is asked.
    refresh: Duration,
    /// How long keys count while there is no answer.
    stale_max: Duration,
    metrics: Arc<Metrics>,
    asked_at: Option<Instant>,
}

impl KeyFetcher {
    /// It ends with the tokens that it is for.
    pub fn new(
        tokens: &Arc<Tokens>,
        client: HttpClient,
        url: Uri,
        (refresh, stale_max): (Duration, Duration),
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { tokens: Arc::downgrade(tokens), client, url, refresh, stale_max, metrics, asked_at: None }
    }

    /// Asks once. A server that does not answer is no reason not to start: tokens are refused until it does.
    pub async fn fetch(&mut self) {
        let Some(tokens) = self.tokens.upgrade() else { return };
        self.asked_at = Some(Instant::now());
        let answer = self.client.get(&self.url).await.map_err(|error| error.to_string());
        let keys = answer.and_then(|text| KeySet::jwks(&text, true).map_err(|error| error.to_string()));
        match keys {
            Ok(keys) => {
                self.metrics.key_fetches.count(KeyFetch::Success);
                if tokens.fetched_at().is_none() {
                    tracing::info!(url = %self.url, "the keys of tokens are there");
                }
                tokens.set_fetched(Some((keys, Instant::now())));
            }
            Err(cause) => {
                self.metrics.key_fetches.count(KeyFetch::Failure);
                tracing::warn!(url = %self.url, cause, "the keys of tokens cannot be fetched");
                if tokens.fetched_at().is_some_and(|at| at.elapsed() > self.stale_max) {
                    tracing::error!(url = %self.url, "the keys of tokens are too old: tokens that need them are refused");
                    tokens.set_fetched(None);
                }
            }
        }
    }

    /// Asks again and again, until nobody needs the tokens any more.
    pub async fn run(mut self) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(tokens) = self.tokens.upgrade() else { return };
            let since = self.asked_at.map_or(Duration::MAX, |at| at.elapsed());
            // Without keys it is asked as often as may be; a wish that came too early is kept for later.
            let is_due = since >= self.refresh
                || (since >= FETCH_INTERVAL_MIN.min(self.refresh) && (tokens.fetched_at().is_none() || tokens.take_wish()));
            drop(tokens);
            if is_due {
                self.fetch().await;
            }
        }
    }
}
