//! smol's executor has one thread, unless a variable of the environment says otherwise before it starts: so the
//! cases run once more in a process of its own.

use std::process::{Command, Stdio};

#[test]
fn o3_what_passes_on_smol_passes_with_several_threads() {
    let own = std::env::current_exe().expect("this program");
    // Those cases in which tasks of one link or node wait for each other.
    let output = Command::new(own)
        .args([
            "messages::smol::",
            "node_messages::smol::",
            "cut_links::smol::",
            "streams::smol::",
            "--test-threads=4",
        ])
        .env("SMOL_THREADS", "4")
        .stdin(Stdio::null())
        .output()
        .expect("a process");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let passed = text.lines().filter(|line| line.ends_with("... ok")).count();
    assert!(passed > 30, "only {passed} cases ran:\n{text}");
}
