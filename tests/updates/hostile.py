"""A git configuration with every setting that could change what our commands read, write or print.

Each line of SETTINGS is one a real user may have. `write_config` makes a global configuration of all of them. Settings
under which git itself refuses the user's own work (a filter that fails, a protocol that is forbidden) have tests of
their own in test_git.py. `core.splitIndex` is left out: with `index.skipHash`, which `feature.manyFiles` sets, git 2.47
itself loses entries of its index at any `git add`.
"""

import re
import subprocess
from pathlib import Path

# `{folder}` has the files that the settings refer to.
SETTINGS = """
add.ignoreErrors = true
advice.detachedHead = true
apply.ignoreWhitespace = change
apply.whitespace = fix
branch.autoSetupMerge = always
branch.sort = -committerdate
checkout.defaultRemote = upstream
checkout.guess = false
checkout.workers = 2
clone.defaultRemoteName = upstream
clone.filterSubmodules = true
clone.rejectShallow = true
color.branch = always
color.diff = always
color.status = always
color.ui = always
column.branch = always
column.status = always
column.tag = always
column.ui = always
commit.cleanup = strip
commit.gpgSign = true
commit.status = false
commit.template = {folder}/missing
commit.verbose = true
core.abbrev = 4
core.askPass = false
core.attributesFile = {folder}/attributes
core.autocrlf = input
core.bigFileThreshold = 1
core.checkStat = minimal
core.commentChar = F
core.compression = 0
core.deltaBaseCacheLimit = 1
core.editor = false
core.eol = crlf
core.excludesFile = {folder}/ignore
core.fileMode = false
core.fsmonitor = {folder}/fsmonitor
core.gitProxy = false
core.hooksPath = {folder}/hooks
core.ignoreCase = true
core.logAllRefUpdates = always
core.pager = false
core.precomposeUnicode = true
core.preloadIndex = false
core.quotePath = false
core.safecrlf = true
core.sharedRepository = group
core.sshCommand = false
core.trustctime = false
core.untrackedCache = true
core.warnAmbiguousRefs = true
core.whitespace = tab-in-indent,trailing-space,cr-at-eol
credential.helper = !false
diff.algorithm = patience
diff.context = 0
diff.dirstat = files
diff.external = false
diff.ignoreSubmodules = all
diff.indentHeuristic = false
diff.interHunkContext = 9
diff.mnemonicPrefix = true
diff.noprefix = true
diff.orderFile = {folder}/missing
diff.relative = true
diff.renames = copies
diff.submodule = log
diff.suppressBlankEmpty = true
diff.wsErrorHighlight = all
feature.experimental = true
feature.manyFiles = true
fetch.fsckObjects = true
fetch.output = compact
fetch.prune = true
fetch.pruneTags = true
fetch.recurseSubmodules = true
fetch.writeCommitGraph = true
format.pretty = oneline
gc.auto = 1
gc.autoDetach = false
gpg.program = false
help.autocorrect = immediate
i18n.commitEncoding = ISO-8859-1
i18n.logOutputEncoding = UTF-16
index.skipHash = true
index.threads = 1
index.version = 4
init.defaultBranch = trunk
init.defaultObjectFormat = sha256
init.defaultRefFormat = reftable
init.templateDir = {folder}/skeleton
log.date = relative
log.decorate = full
log.follow = true
log.mailmap = false
log.showRoot = false
log.showSignature = true
maintenance.auto = true
merge.conflictStyle = zdiff3
merge.directoryRenames = true
merge.ff = only
merge.renames = false
merge.stat = true
merge.verbosity = 5
notes.displayRef = refs/notes/*
pack.writeReverseIndex = true
pager.status = true
pull.rebase = true
push.autoSetupRemote = true
push.default = nothing
push.followTags = true
push.gpgSign = if-asked
push.recurseSubmodules = only
rerere.autoUpdate = true
rerere.enabled = true
safe.bareRepository = explicit
stash.showPatch = true
status.aheadBehind = true
status.branch = true
status.displayCommentPrefix = true
status.relativePaths = false
status.renames = copies
status.short = true
status.showStash = true
status.showUntrackedFiles = no
status.submoduleSummary = true
submodule.propagateBranches = true
submodule.recurse = true
tag.forceSignAnnotated = true
tag.gpgSign = true
tag.sort = -version:refname
transfer.fsckObjects = true
transfer.hideRefs = refs/tags
uploadpack.hideRefs = refs/tags
url.https://git.invalid/.insteadOf = /
user.useConfigOnly = true
versionsort.suffix = v
worktree.guessRemote = true
"""
SETTING = re.compile(r"(?m)^(\S+) = (.*)$")
# Patterns that a team may let git ignore: files of the template, and files in which the test would see a leftover.
IGNORED = "/*\n.*\nCargo.toml\njustfile\ndeny.toml\n.config/\n*.rej\n*.orig\n.copier-answers.yml\n"
ATTRIBUTES = "* text=auto eol=crlf -diff merge=binary whitespace=fix ident\n*.toml diff=missing\n"
HOOKS = (
    "applypatch-msg commit-msg fsmonitor-watchman post-applypatch post-checkout post-commit post-index-change"
    " post-merge post-rewrite pre-applypatch pre-auto-gc pre-commit pre-merge-commit pre-push pre-rebase"
    " prepare-commit-msg push-to-checkout reference-transaction sendemail-validate"
).split()
# Each hook fails, and records that it ran.
HOOK = '#!/bin/sh\necho "$0" >> "{folder}/ran"\nexit 1\n'
# Reports every file as unchanged.
FSMONITOR = "#!/bin/sh\nprintf 'token\\0'\n"
# Variables that git sets for a hook, or that users set; they refer to another repository or format.
VARIABLES = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES": "{folder}",
    "GIT_ATTR_SOURCE": "HEAD",
    "GIT_COMMON_DIR": "{folder}/elsewhere/.git",
    "GIT_DEFAULT_HASH": "sha256",
    "GIT_DEFAULT_REF_FORMAT": "reftable",
    "GIT_DIFF_OPTS": "--unified=0",
    "GIT_DIR": "{folder}/elsewhere/.git",
    "GIT_EDITOR": "false",
    "GIT_EXTERNAL_DIFF": "false",
    "GIT_GLOB_PATHSPECS": "1",
    "GIT_INDEX_FILE": "{folder}/elsewhere/.git/index",
    "GIT_INDEX_VERSION": "2",
    "GIT_NAMESPACE": "elsewhere",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OBJECT_DIRECTORY": "{folder}/elsewhere/.git/objects",
    "GIT_PAGER": "false",
    "GIT_PREFIX": "elsewhere/",
    "GIT_QUARANTINE_PATH": "{folder}",
    "GIT_REFLOG_ACTION": "elsewhere",
    "GIT_SEQUENCE_EDITOR": "false",
    "GIT_SHALLOW_FILE": "{folder}/missing",
    "GIT_TEMPLATE_DIR": "{folder}/skeleton",
    "GIT_TRACE": "1",
    "GIT_TRACE2": "1",
    "GIT_WORK_TREE": "{folder}/elsewhere",
    "LANGUAGE": "de",
}


def write_config(folder: Path) -> Path:
    """Write the configuration and the files that it names into a folder, and return the configuration."""
    hooks, skeleton = folder / "hooks", folder / "skeleton"
    for place in (hooks, skeleton / "hooks", skeleton / "info"):
        place.mkdir(parents=True)
    for name in HOOKS:
        for place in (hooks, skeleton / "hooks"):
            _write_program(place / name, HOOK.format(folder=folder))
    _write_program(folder / "fsmonitor", FSMONITOR)
    (skeleton / "info" / "exclude").write_text("*\n", encoding="utf-8")
    (skeleton / "info" / "attributes").write_text("* -diff -text\n", encoding="utf-8")
    (folder / "ignore").write_text(IGNORED, encoding="utf-8")
    (folder / "attributes").write_text(ATTRIBUTES, encoding="utf-8")
    subprocess.run(["git", "init", "--quiet", str(folder / "elsewhere")], check=True)
    config = folder / "config"
    for name, value in settings(folder):
        subprocess.run(["git", "config", "--file", str(config), name, value], check=True)
    return config


def settings(folder: Path) -> list[tuple[str, str]]:
    """Return all settings, with their values."""
    return SETTING.findall(SETTINGS.replace("{folder}", str(folder)))


def variables(folder: Path) -> dict[str, str]:
    """Return the variables of a hook that runs in another repository."""
    return {name: value.format(folder=folder) for name, value in VARIABLES.items()}


def _write_program(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    file.chmod(0o755)
