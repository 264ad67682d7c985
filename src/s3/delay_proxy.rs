//! A service that is far away: a proxy in front of a real one that lets each request wait, and counts them.

#![allow(dead_code, reason = "several programs use it, each a part of it")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The proxy. It ends with the process.
pub struct DelayProxy {
    /// Such as `http://127.0.0.1:1234`.
    pub endpoint: String,
    inner: Arc<Inner>,
}

struct Inner {
    server: String,
    delay_ms: AtomicU64,
    requests: AtomicUsize,
}

impl DelayProxy {
    /// In front of the server at `endpoint`; each request comes there so much later.
    pub fn new(endpoint: &str, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner {
            server: endpoint.strip_prefix("http://").unwrap().to_owned(),
            delay_ms: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
        });
        let proxy = Self { endpoint: format!("http://{address}"), inner: inner.clone() };
        proxy.set_delay(delay);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let inner = inner.clone();
                // A client that goes away in the middle is its own affair.
                std::thread::spawn(move || drop(inner.serve(client)));
            }
        });
        proxy
    }

    /// How much later requests come to the server from now on, in whole milliseconds.
    pub fn set_delay(&self, delay: Duration) {
        self.inner.delay_ms.store(delay.as_millis() as u64, Ordering::SeqCst);
    }

    /// How many requests came since it began.
    pub fn requests(&self) -> usize {
        self.inner.requests.load(Ordering::SeqCst)
    }
}

impl Inner {
    /// One connection with its requests, each after the answer to the one before.
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut server = TcpStream::connect(&self.server)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        // Whether the server spoke last, or nobody did.
        let is_turn = Arc::new(AtomicBool::new(true));
        let back = (server.try_clone()?, client.try_clone()?, is_turn.clone());
        std::thread::spawn(move || {
            let (mut server, mut client, is_turn) = back;
            let _ = hand_on(&mut server, &mut client, |_| is_turn.store(true, Ordering::SeqCst));
            let _ = client.shutdown(Shutdown::Both);
        });
        let handed_on = hand_on(&mut client, &mut server, |bytes| {
            // A server may speak in the middle of a request, to have its body.
            if is_turn.swap(false, Ordering::SeqCst) && begins_a_request(bytes) {
                self.requests.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(self.delay_ms.load(Ordering::SeqCst)));
            }
        });
        let _ = server.shutdown(Shutdown::Write);
        handed_on
    }
}

/// Everything that comes from one side goes to the other one, after `each` has seen it.
fn hand_on(from: &mut TcpStream, to: &mut TcpStream, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        each(&buffer[..length]);
        to.write_all(&buffer[..length])?;
    }
}

fn begins_a_request(bytes: &[u8]) -> bool {
    let methods: [&[u8]; 5] = [b"GET ", b"HEAD ", b"PUT ", b"POST ", b"DELETE "];
    methods.iter().any(|method| bytes.starts_with(method))
}
