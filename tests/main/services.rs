//! Services beside the usual S3 server, each started by the test that asks it.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::s3_server::{ACCESS_KEY, SECRET_KEY};

/// A service that ends with its test.
pub struct Service {
    /// Such as `http://127.0.0.1:1234`.
    pub endpoint: String,
    process: Child,
}

impl Service {
    /// rclone's S3 server. Its buckets are the directories below `dir`; it takes conditions, and does not heed them.
    pub fn rclone(dir: &Path) -> Self {
        Self::start("rclone", |port| {
            let address = format!("127.0.0.1:{port}");
            let key = format!("{ACCESS_KEY},{SECRET_KEY}");
            let words = ["serve", "s3", "--addr", &address, "--auth-key", &key];
            words.map(str::to_owned).into_iter().chain([dir.display().to_string()]).collect()
        })
    }

    /// moto's server, which takes the requests of CloudFront apart by Amazon's own description of them.
    pub fn moto() -> Self {
        Self::start("moto_server", |port| vec!["--port".to_owned(), port.to_string()])
    }

    fn start(program: &str, words: impl Fn(u16) -> Vec<String>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(tool(program));
        command.args(words(port)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let service =
            Self { endpoint: format!("http://127.0.0.1:{port}"), process: command.spawn().unwrap() };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "{program} does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        service
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A program, where `tests/prepare` puts it.
fn tool(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin").join(name);
    assert!(path.is_file(), "this test needs {}: run tests/prepare", path.display());
    path
}

/// A distribution of CloudFront, as moto has it, seen through Amazon's own client for Python.
pub struct Distribution {
    service: Service,
    pub id: String,
}

impl Distribution {
    pub fn new() -> Self {
        let service = Service::moto();
        let create = r#"
behavior = {"TargetOriginId": "bucket", "ViewerProtocolPolicy": "allow-all"}
origin = {"Id": "bucket", "DomainName": "packages.s3.amazonaws.com", "S3OriginConfig": {"OriginAccessIdentity": ""}}
config = {"CallerReference": "test", "Comment": "", "Enabled": True, "DefaultCacheBehavior": behavior,
          "Origins": {"Quantity": 1, "Items": [origin]}}
print(cloudfront.create_distribution(DistributionConfig=config)["Distribution"]["Id"])
"#;
        let id = ask(&service, create).trim().to_owned();
        Self { service, id }
    }

    pub fn endpoint(&self) -> &str {
        &self.service.endpoint
    }

    /// The paths of each invalidation, in the order in which they came.
    pub fn invalidations(&self) -> Vec<Vec<String>> {
        let list = r#"
items = cloudfront.list_invalidations(DistributionId=ID)["InvalidationList"].get("Items", [])
for item in items:
    one = cloudfront.get_invalidation(DistributionId=ID, Id=item["Id"])["Invalidation"]["InvalidationBatch"]
    assert one["Paths"]["Quantity"] == len(one["Paths"]["Items"])
    print(" ".join(one["Paths"]["Items"]))
"#;
        let text = ask(&self.service, &list.replace("ID", &format!("{:?}", self.id)));
        text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    }
}

fn ask(service: &Service, script: &str) -> String {
    let client = format!(
        "import boto3\ncloudfront = boto3.client('cloudfront', endpoint_url='{}', region_name='us-east-1',\
         aws_access_key_id='a', aws_secret_access_key='b')\n",
        service.endpoint
    );
    let output = Command::new(tool("python3")).args(["-c", &(client + script)]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
