//! Completions and manual pages.

use std::process::Command;

fn dunlin(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_dunlin")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_shell_is_told_every_subcommand() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = dunlin(&["completions", shell]);
        for word in ["passwd", "retained-only", "stdin-line"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    // bash can say itself whether the script is one.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dunlin.bash");
    std::fs::write(&file, dunlin(&["completions", "bash"])).unwrap();
    assert!(Command::new("bash").arg("-n").arg(&file).status().unwrap().success());
}

#[test]
fn there_is_a_manual_page_for_each_subcommand() {
    assert!(dunlin(&["man"]).starts_with(".ie"));
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    dunlin(&["man", &pages.display().to_string()]);
    for (page, word) in
        [("dunlin.1", "dunlin"), ("dunlin-pub.1", "null"), ("dunlin-sub.1", "retained"), ("dunlin-run.1", "config")]
    {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(".TH") && text.contains(word), "{page}");
    }
}
