//! Heap blocks of `$name`. The counters are those of the process, so this file has one test.

use ::$crate::$name::$name as hot_path;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

#[test]
fn it_allocates_nothing() {
    let text = b"a line of usual length\n".repeat(10_000);

    let blocks = blocks_of(&text);

    assert_eq!(blocks, 0, "blocks for {} bytes", text.len());
}

/// Returns the heap blocks that a call allocates.
///
/// The main thread of the test harness allocates a few blocks when it begins to wait for this test.
/// They can fall into as many calls as there are blocks, so one of a hundred calls has none of them.
fn blocks_of(text: &[u8]) -> u64 {
    let mut minimum = u64::MAX;
    for _ in 0..100 {
        let _profiler = dhat::Profiler::builder().testing().build();
        std::hint::black_box(hot_path(text));
        minimum = minimum.min(dhat::HeapStats::get().total_blocks);
        if minimum == 0 {
            break;
        }
    }
    minimum
}
