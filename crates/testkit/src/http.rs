//! The least of an HTTP server and client, for tests that only ask whether something is served.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// A server on a port of 127.0.0.1 that answers every request with 200, until the process ends.
///
/// # Panics
///
/// If there is no free port.
pub fn always_ok() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut lines = BufReader::new(&connection).lines();
                while let Some(Ok(line)) = lines.next() {
                    if line.is_empty() {
                        let _ = (&connection).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                    }
                }
            });
        }
    });
    port
}

/// A port of 127.0.0.1 that nobody has now.
///
/// # Panics
///
/// If there is none.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// The status of one request on a connection of its own to 127.0.0.1; nothing when the port is closed.
pub fn status(port: u16, host: &str, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    // Envoy keeps the connection for a second after its answer, for the client to close it.
    BufReader::new(&stream).read_line(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}
