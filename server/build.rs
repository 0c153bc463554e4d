//! Says what is compiled into the coordinator beside its source: the migrations and the dashboard.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
    // Cargo takes a missing directory for one that always changed. Where it cannot be made, that is no harm.
    let _ = std::fs::create_dir_all("../web/dist");
    println!("cargo:rerun-if-changed=../web/dist");
}
