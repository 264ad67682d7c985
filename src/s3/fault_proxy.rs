//! A service that is unwell: a proxy in front of a real S3 server that spoils the answers of chosen requests.

#![allow(dead_code, reason = "several test programs use it, each a part of it")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How an answer is spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server is not asked: this status, with this code.
    Status(u16, &'static str),
    /// The connection ends in the middle of the body.
    Reset,
    /// The body ends early, and its length says so.
    Truncated,
    /// A bit of the body is another.
    BitFlip,
    /// Half of the body comes, and then nothing for so long.
    Stall(Duration),
    /// The server is asked so much later.
    Late(Duration),
}

/// Spoils so many answers to requests that have this in their first line.
struct Rule {
    request: String,
    fault: Fault,
    left: usize,
}

/// The proxy. It ends with the process.
pub struct FaultProxy {
    /// Such as `http://127.0.0.1:1234`.
    pub endpoint: String,
    rules: Arc<Mutex<Vec<Rule>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FaultProxy {
    /// In front of the server at `endpoint`.
    pub fn new(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = endpoint.strip_prefix("http://").unwrap().to_owned();
        let proxy =
            Self { endpoint: format!("http://{address}"), rules: Arc::default(), requests: Arc::default() };
        let (rules, requests) = (proxy.rules.clone(), proxy.requests.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (server, rules, requests) = (server.clone(), rules.clone(), requests.clone());
                // A client that goes away in the middle is what these tests are about.
                std::thread::spawn(move || drop(serve(client, &server, &rules, &requests)));
            }
        });
        proxy
    }

    /// Spoils the next `times` answers to requests with `request` in their first line, such as `GET /forge/x`.
    pub fn spoil(&self, request: &str, fault: Fault, times: usize) {
        self.rules.lock().unwrap().push(Rule { request: request.to_owned(), fault, left: times });
    }

    /// All answers are sound from now on.
    pub fn heal(&self) {
        self.rules.lock().unwrap().clear();
    }

    /// The first lines of all requests so far that have `request` in them.
    pub fn requests(&self, request: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|line| line.contains(request)).count()
    }
}

fn serve(
    mut client: TcpStream,
    server: &str,
    rules: &Mutex<Vec<Rule>>,
    requests: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let end = read_head(&mut client, &mut request)?;
    let head = String::from_utf8_lossy(&request[..end]).into_owned();
    let line = head.lines().next().unwrap_or_default().to_owned();
    requests.lock().unwrap().push(line.clone());
    if header(&head, "expect").is_some() {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let length: usize = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    read_to(&mut client, &mut request, end + length)?;
    let fault = rules.lock().unwrap().iter_mut().find_map(|rule| {
        (rule.left > 0 && line.contains(&rule.request)).then(|| {
            rule.left -= 1;
            rule.fault
        })
    });
    if let Some(Fault::Status(status, code)) = fault {
        let body = format!("<Error><Code>{code}</Code><Message>as asked</Message></Error>");
        let body = if line.starts_with("HEAD") { String::new() } else { body };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        return client.write_all((head + &body).as_bytes());
    }
    if let Some(Fault::Late(time)) = fault {
        std::thread::sleep(time);
    }
    let answer = ask(server, &head, &request[end..])?;
    let Some(fault) = fault else { return client.write_all(&answer) };
    let end = find_end(&answer).unwrap();
    let (head, body) = answer.split_at(end);
    let mut body = body.to_vec();
    let half = body.len() / 2;
    match fault {
        Fault::Status(..) => unreachable!(),
        Fault::Late(_) => client.write_all(&answer),
        Fault::Reset => client.write_all(&[head, &body[..half]].concat()),
        Fault::Stall(time) => {
            client.write_all(&[head, &body[..half]].concat())?;
            std::thread::sleep(time);
            Ok(())
        }
        Fault::BitFlip => {
            body[half] ^= 1;
            client.write_all(&[head, &body].concat())
        }
        Fault::Truncated => {
            let head = String::from_utf8_lossy(head);
            let kept = head.lines().filter(|line| !line.to_lowercase().starts_with("content-length"));
            let kept: Vec<&str> = kept.filter(|line| !line.is_empty()).collect();
            let head = format!("{}\r\nContent-Length: {half}\r\n\r\n", kept.join("\r\n"));
            client.write_all(&[head.as_bytes(), &body[..half]].concat())
        }
    }
}

/// The whole answer of the server.
fn ask(server: &str, head: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let kept = head.lines().filter(|line| {
        let name = line.split(':').next().unwrap_or_default().to_lowercase();
        !line.is_empty() && name != "connection" && name != "expect"
    });
    let head = kept.collect::<Vec<_>>().join("\r\n") + "\r\nConnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(server)?;
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

fn find_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn read_head(client: &mut TcpStream, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    loop {
        if let Some(end) = find_end(bytes) {
            return Ok(end);
        }
        let length = bytes.len();
        read_to(client, bytes, length + 1)?;
    }
}

fn read_to(client: &mut TcpStream, bytes: &mut Vec<u8>, length: usize) -> std::io::Result<()> {
    let mut buffer = [0; 64 << 10];
    while bytes.len() < length {
        match client.read(&mut buffer)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => bytes.extend(&buffer[..read]),
        }
    }
    Ok(())
}
