//! `just rules` runs these checks now. Delete this file where the package has another target.
