//! Compiles the C kernel.

use std::path::Path;

fn main() {
    let kernel = Path::new("../../kernel");
    let mut sources: Vec<_> = std::fs::read_dir(kernel.join("src"))
        .expect("the kernel lies beside the crates")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    sources.sort();
    let mut build = cc::Build::new();
    build.files(sources);
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
