//! In a process of its own, since it looks at the memory of all of it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // a test may fail anywhere

use std::sync::Arc;
use std::time::Duration;

use dunlin::admin::{AdminState, Exporter, Process, serve};
use tokio::net::TcpListener;
use tokio::time::sleep;

/// The exporter keeps each latency sample until it is folded in: thirty million of them would be 240 MB.
#[tokio::test(start_paused = true)]
async fn memory_is_bounded_where_nobody_scrapes() {
    const ROUNDS: u32 = 100;
    const SAMPLES: u32 = 300_000;
    let exporter = Arc::new(Exporter::new());
    let metrics = Arc::new(exporter.metrics());
    let state = AdminState::new(metrics.clone(), exporter.clone(), Arc::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    tokio::spawn(serve(listener, state, std::future::pending()));
    let before = Process::read().resident_bytes;
    for _ in 0..ROUNDS {
        (0..SAMPLES).for_each(|_| metrics.latency.publish_to_ack.record(0.1));
        sleep(Duration::from_secs(1)).await;
    }
    let grown = Process::read().resident_bytes.saturating_sub(before);
    assert!(grown < 120 << 20, "{grown} bytes");
    let text = exporter.render(&metrics);
    assert!(text.contains(&format!("dunlin_publish_to_ack_seconds_count {}\n", ROUNDS * SAMPLES)));
}
