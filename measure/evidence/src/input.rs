//! Inputs that are the same in each run.

/// Numbers without order, by xorshift.
pub fn random(count: usize) -> Vec<u64> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Short texts, about as long as a word or a name.
pub fn names(count: usize) -> Vec<String> {
    random(count)
        .iter()
        .map(|number| format!("name-{:07}", number % 10_000_000))
        .collect()
}

/// A number as people read it, for the names of cases.
pub fn digits(number: usize) -> String {
    let text = number.to_string();
    let groups: Vec<_> = text
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(String::from_utf8_lossy)
        .collect();
    groups.join(",")
}
