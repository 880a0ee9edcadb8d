//! Time of `$name`.

use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use std::hint::black_box;

use ::$crate::$name::$name as hot_path;

const LINES: [usize; 2] = [1_000, 200_000];

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("$name");
    group.sampling_mode(SamplingMode::Flat);
    for lines in LINES {
        let text = b"a line of usual length\n".repeat(lines);
        group.throughput(Throughput::Elements(lines as u64));
        group.bench_with_input(BenchmarkId::new("lines", lines), &text, |bencher, text| {
            bencher.iter(|| hot_path(black_box(text)));
        });
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
