use super::super::*;
use super::wire_cases::wire_cases;

/// Not a test: writes the table where the fuzzer of the codec looks for bytes to begin with (`tests/fuzz/README.md`).
#[test]
#[ignore = "writes files"]
fn write_the_seeds_of_the_fuzzer() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/packet");
    std::fs::create_dir_all(&folder).unwrap();
    for (number, case) in wire_cases().iter().enumerate() {
        let decoder = case.decoder();
        let version = decoder.version.map_or(0, |version| version as u8 - 2);
        let selector = version | if case.sender == Peer::Server { 4 } else { 0 };
        std::fs::write(folder.join(format!("wire-{number}")), [&[selector], case.bytes].concat()).unwrap();
    }
}
