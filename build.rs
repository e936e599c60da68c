//! Writes the folder of the libtorch that was linked into the binary, so that it runs from
//! anywhere without `LD_LIBRARY_PATH`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
        println!("cargo:rustc-env=SHOWTELL_LIBTORCH_LIB={folder}");
    }
}
