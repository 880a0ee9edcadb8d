//! Tells the program which commit it is built from, for `--version`.

use std::process::Command;

fn main() {
    let version = env!("CARGO_PKG_VERSION");
    // A package from a registry has no repository, and one that is vendored is not tracked by the repository around it.
    let tracked = git(&["ls-files", "--error-unmatch", "build.rs"]);
    let version = match tracked.and_then(|_| git(&["rev-parse", "--short=10", "HEAD"])) {
        Some(commit) => format!("{version} ({commit})"),
        None => version.to_owned(),
    };
    println!("cargo::rustc-env=VERSION_WITH_COMMIT={version}");
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
