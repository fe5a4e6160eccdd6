//! Compiles the C kernel.

use std::path::Path;

const SOURCES: [&str; 16] = [
    "account.c",
    "codec.c",
    "fastpath.c",
    "footprint.c",
    "kernel.c",
    "marks.c",
    "orderflow.c",
    "orderflow_access.c",
    "orderflow_state.c",
    "orders.c",
    "price_table.c",
    "rolling_histogram.c",
    "series.c",
    "session.c",
    "state.c",
    "status.c",
];

fn main() {
    let kernel = Path::new("../../kernel");
    let mut build = cc::Build::new();
    for source in SOURCES {
        build.file(kernel.join("src").join(source));
    }
    // Always optimised: a debug build of the crates should not crawl.
    build
        .include(kernel.join("include"))
        .opt_level(3)
        .std("c11")
        .flag("-ffp-contract=off")
        .flag("-fwrapv")
        .flag("-fvisibility=hidden")
        .flag_if_supported("-Wpedantic")
        .flag_if_supported("-Wshadow")
        .flag_if_supported("-Wconversion")
        .flag_if_supported("-Wstrict-prototypes")
        .flag_if_supported("-Wmissing-prototypes")
        .flag_if_supported("-Wvla")
        .warnings(true)
        .extra_warnings(true)
        .compile("flow_kernel");
    println!("cargo::rerun-if-changed=../../kernel");
}
