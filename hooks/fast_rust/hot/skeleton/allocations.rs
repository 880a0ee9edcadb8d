//! What `$name` allocates. The counters are those of the process, so this file has one test.

use $crate::$name::$name;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

#[test]
fn it_allocates_nothing() {
    let text = b"a line of usual length\n".repeat(10_000);
    let _profiler = dhat::Profiler::builder().testing().build();

    let lines = $name(&text);

    let stats = dhat::HeapStats::get();
    dhat::assert_eq!(stats.total_blocks, 0, "blocks for {lines} lines");
}
