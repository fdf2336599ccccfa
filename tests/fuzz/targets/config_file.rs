//! No config file makes the broker fall over before it has said what is wrong; a good one is the same once it was printed and read.

#![no_main]

use std::io::Write;

use dunlin::config::{Config, ConfigSource, Flags};
use libfuzzer_sys::fuzz_target;

fn load(text: &str) -> Option<Config> {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("it can be written");
    let source = ConfigSource::new(Some(file.path().into()), Flags::default()).with_environment(&[]);
    match source.load() {
        Ok(config) => Some(config),
        Err(errors) => {
            assert!(!errors.to_string().is_empty());
            None
        }
    }
}

fuzz_target!(|text: &str| {
    if let Some(config) = load(text) {
        let _ = config.warnings();
        let _ = config.to_toml();
    }
});
