//! Compiles the .proto files in Rust, so no system protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["loda/v1/query.proto", "loda/v1/node.proto", "loda/fragment/v1/fragment.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
