//! What broke other brokers, done to this one. `README.md` has the table: which row of what is known is which test.

#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

mod bytes;
mod connecting;
mod filters;
mod guessing;
mod memory;
mod siege;
mod swarm;

/// Every `module::test` that the table names is a test somewhere in the sources.
#[test]
fn the_table_names_tests_that_there_are() {
    fn sources(folder: &std::path::Path, all: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, all);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    ["src", "tests"].iter().for_each(|folder| sources(&root.join(folder), &mut all));
    let table = include_str!("README.md");
    let named: Vec<&str> = table.split('`').skip(1).step_by(2).filter_map(|code| Some(code.rsplit_once("::")?.1)).collect();
    assert!(named.len() > 80, "only {} tests are named", named.len());
    for name in named {
        assert!(all.contains(&format!("fn {name}()")), "there is no test {name}");
    }
    // Each row has one.
    for row in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| What")) {
        assert!(row.contains("::") || row.contains("by construction"), "no test: {row}");
    }
}
