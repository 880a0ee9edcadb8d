"""The names of checks, and those that they had before release 0.9.0, which manifests may still have."""

# From the former name to the present one. Release 0.10.0 drops them.
FORMER = {
    "every_gate_is_there": "every_lint_is_enabled",
    "every_hot_path_says_why_and_what_it_may_cost": "every_hot_path_has_a_reason_and_a_budget",
    "every_submodule_of_a_hot_path_says_so": "every_submodule_of_a_hot_path_is_marked",
    "no_build_is_for_the_build_host": "no_build_uses_the_native_cpu",
    "no_file_is_left_out_of_the_rules": "no_file_suppresses_a_rule",
    "nothing_is_left_of_older_releases": "no_file_is_of_an_older_release",
    "symbols_are_there_to_profile": "profiling_keeps_symbols",
}


def current_name(check: str) -> str:
    """Return the present name of a check."""
    return FORMER.get(check, check)
