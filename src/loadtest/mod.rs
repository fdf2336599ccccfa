//! The load tester: clients that measure a broker, any broker.
//!
//! It knows nothing of the broker in this program, not even its codec: what is rare goes through mqttbytes, what is frequent
//! through `frame`, so that an error of the broker's codec cannot hide behind itself.
//!
//! `plan` says which clients a `Scenario` needs. A `Crew` of threads has them: each `Worker` is one `epoll` loop, each `Client`
//! reads once and writes once in its turn. `Publisher` and `Subscriber` are the two sides of it without a socket. The `Lead`
//! tells the crew what to do and measures. Payloads carry a `Stamp`; receivers keep a `Ledger` for each stream of messages, and
//! what is wrong in one is in the `Report`.

mod book;
mod campaign;
mod client;
mod clock;
mod codec;
pub mod compare;
mod crew;
mod descriptors;
mod desk;
mod frame;
mod latency;
mod lead;
mod ledger;
mod plan;
mod process;
mod progress;
mod publisher;
mod relay;
mod report;
mod run;
mod settings;
mod shared;
mod stamp;
mod subscriber;
mod summary;
mod tally;
mod timer;
mod tls;
mod websocket;
mod wire;
mod worker;

pub use latency::LatencySummary;
pub use plan::longest_topic;
pub use relay::relay;
pub use report::{Cost, Fault, Messages, Phase, Report, Setup, Unit, Verdict};
pub use run::run;
pub use settings::{Load, Pace, QoS, Scenario, Settings, Target, TlsFiles, Version};
pub use stamp::STAMP_LENGTH;
pub use summary::summary;
