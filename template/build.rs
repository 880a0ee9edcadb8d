//! Sets the environment variable `VERSION_WITH_COMMIT`, which `--version` prints.

use std::process::Command;

fn main() {
    let version = env!("CARGO_PKG_VERSION");
    // Without a commit if git does not track this file: in a package from a registry, or in a vendored one.
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
