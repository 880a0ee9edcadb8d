//! `just rules` runs these checks now. Delete this file.
