//! Compiles the C++ that calls libtorch where tch does not, against the headers of the
//! libtorch that tch was built with, and writes the folder of that libtorch into the binary, so that
//! it runs from anywhere without `LD_LIBRARY_PATH`.

use std::path::{Path, PathBuf};

const SOURCES: [&str; 2] = [
    "src/encoder/fused/operations.cpp",
    "src/encoder/fused/buffers.cpp",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
    }
    if let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
        println!("cargo:rustc-env=SHOWTELL_LIBTORCH_LIB={folder}");
        compile(&headers(Path::new(&folder)));
    }
}

/// Where the headers lie that belong to the libraries in `folder`; as torch-sys finds them.
fn headers(folder: &Path) -> PathBuf {
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    let given = std::env::var_os("LIBTORCH_INCLUDE").map(PathBuf::from);
    let root = given.or_else(|| folder.parent().map(Path::to_owned));
    root.unwrap_or_default().join("include")
}

fn compile(headers: &Path) {
    println!("cargo:rerun-if-env-changed=LIBTORCH_CXX11_ABI");
    let abi = std::env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
    cc::Build::new()
        .cpp(true)
        .warnings(false)
        .include(headers)
        .flag("-std=c++17")
        .flag(format!("-D_GLIBCXX_USE_CXX11_ABI={abi}"))
        .files(SOURCES)
        .compile("showtell_operations");
}
