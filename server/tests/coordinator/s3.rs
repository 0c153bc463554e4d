//! The artifact store in a bucket of a real S3 server: moto's, which `deploy/test` sets up under `.cache`.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::stores::conforms;
use motif_server::artifacts::{Artifacts, Health};

struct Server {
    child: Child,
    endpoint: String,
}

impl Server {
    fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/moto/bin/moto_server");
        assert!(
            program.exists(),
            "{} is missing: deploy/test sets it up",
            program.display()
        );
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = Command::new(program)
            // Amazon wants parts of 5 MiB, with which this would take its time.
            .env("S3_UPLOAD_PART_MIN_SIZE", "1")
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            endpoint: format!("http://127.0.0.1:{port}"),
        }
    }

    /// Makes a bucket as soon as the server answers.
    async fn make_bucket(&self, name: &str) {
        let limit = Instant::now() + Duration::from_secs(60);
        let client = object_store_http::Client::new();
        loop {
            let made = client.put(format!("{}/{name}", self.endpoint)).send().await;
            match made {
                Ok(answer) if answer.status().is_success() => return,
                _ => assert!(Instant::now() < limit, "the S3 server does not come up"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_bucket_conforms_and_one_that_is_not_there_is_away() {
    let server = Server::start();
    let environment = [
        ("AWS_ENDPOINT_URL", server.endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "motif"),
        ("AWS_SECRET_ACCESS_KEY", "motif"),
        ("AWS_REGION", "us-east-1"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let artifacts = Artifacts::open_as("s3://motif/some/prefix", &environment).unwrap();
    server.make_bucket("motif").await;
    conforms(artifacts).await;
    let missing = Artifacts::open_as("s3://nobodys/prefix", &environment).unwrap();
    assert_eq!(missing.health().await, Health::Away);
}
