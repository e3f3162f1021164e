//! Certificates, manifests and lists: who is somebody, and who is nobody.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

mod certificates;
mod federation;
mod folder;
mod manifest;
mod pki;
mod revocation;
mod vectors;
