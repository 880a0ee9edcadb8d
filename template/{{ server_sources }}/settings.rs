//! The settings of a service: from flags, and from an environment variable for each.

use clap::error::ErrorKind;
use clap::{ArgMatches, Command, Parser};
use std::env;
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

/// Reads the flags, and for each missing flag the environment variable `PACKAGE_SETTING`. Returns the
/// settings, and their text for the log. Flags listed in `actions` have no variable.
///
/// # Errors
/// A message with the flag and the variable; also the texts of `--help` and `--version`.
pub fn read<C, I>(package: &str, actions: &[&str], arguments: I) -> Result<(C, String), clap::Error>
where
    C: Parser,
    I: IntoIterator<Item: Into<OsString> + Clone>,
{
    let prefix = format!("{}_", package.replace('-', "_").to_uppercase());
    let mut command = C::command().mut_args(|argument| {
        if actions.contains(&argument.get_id().as_str()) {
            return argument;
        }
        let variable = format!("{prefix}{}", argument.get_id().as_str().to_uppercase());
        // Messages name it next to the flag.
        let names_value = argument.get_action().takes_values();
        let argument = argument.env(variable.clone());
        if names_value {
            argument.value_name(variable)
        } else {
            argument
        }
    });
    let matches = command.try_get_matches_from_mut(arguments)?;
    if let Some(variable) = unknown_variable(&command, &prefix) {
        let known: Vec<_> = variables(&command).collect();
        let message = format!(
            "unknown variable {variable}; the settings are {}",
            known.join(", ")
        );
        return Err(command.error(ErrorKind::UnknownArgument, message));
    }
    let config = C::from_arg_matches(&matches)?;
    Ok((config, effective(&command, &matches)))
}

fn variables(command: &Command) -> impl Iterator<Item = &str> {
    let variables = command.get_arguments().filter_map(clap::Arg::get_env);
    variables.filter_map(|variable| variable.to_str())
}

/// Returns a variable that has the prefix and is not a setting: it is probably misspelt.
fn unknown_variable(command: &Command, prefix: &str) -> Option<String> {
    let set = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let is_known = |name: &String| variables(command).any(|known| known == name);
    let mut unknown = set.filter(|name| name.starts_with(prefix) && !is_known(name));
    unknown.find(|name| !is_link(name))
}

/// Whether Kubernetes sets such a variable, for each service in the namespace.
fn is_link(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST") || name.ends_with("_PORT") || name.contains("_PORT_")
}

/// The value of each setting; of one whose variable is hidden from the help it is a secret.
fn effective(command: &Command, matches: &ArgMatches) -> String {
    let settings = command.get_arguments();
    let settings = settings.filter(|setting| setting.get_env().is_some());
    let texts = settings.filter_map(|setting| {
        let values = matches.get_raw(setting.get_id().as_str())?;
        let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
        let is_secret = setting.is_hide_env_values_set();
        let value = if is_secret { "***" } else { &*values.join(",") };
        Some(format!("--{}={value}", setting.get_long()?))
    });
    texts.collect::<Vec<_>>().join(" ")
}

/// Whether a process cannot listen on both.
#[must_use]
pub fn is_same_address(one: SocketAddr, other: SocketAddr) -> bool {
    let (port, ip, other_ip) = (one.port(), one.ip(), other.ip());
    // The unspecified address of IPv6 takes in IPv4.
    let has = |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    let overlap = ip == other_ip || has(ip, other_ip) || has(other_ip, ip);
    port != 0 && port == other.port() && overlap
}

/// The name and the version of what runs.
static BUILD: OnceLock<(&str, &str)> = OnceLock::new();

pub(super) fn build() -> Option<(&'static str, &'static str)> {
    BUILD.get().copied()
}

/// Logs what starts, with the text of its settings, and gives `/metrics` its name and version.
pub fn announce(name: &'static str, version: &'static str, settings: &str) {
    let _ = BUILD.set((name, version));
    tracing::info!(name, version, settings, "starting");
}
